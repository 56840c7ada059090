/**
 * What `siteagent completion SHELL` prints. Each script asks `siteagent __complete` with the words typed so far, so it never grows
 * old. The bash script needs nothing but bash 4: no bash-completion package, and it may be sourced twice.
 */
const bash = `# siteagent completion for bash: source <(siteagent completion bash)
_siteagent_complete() {
  local line=\${COMP_LINE:0:COMP_POINT} current reply
  # Words are split at blanks only: ids hold colons, tags equal signs.
  local -a words
  read -r -a words <<<"$line"
  case $line in *[[:blank:]]) words+=("") ;; esac
  current=\${words[\${#words[@]}-1]}
  # bash replaces only what stands behind the last colon or equal sign of the word.
  local broken=\${current%"\${current##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r reply; do
    [ -n "$reply" ] || continue
    case $reply in
      __files__)
        compopt -o filenames 2>/dev/null # quotes blanks, marks directories
        while IFS= read -r reply; do COMPREPLY+=("$reply"); done < <(compgen -f -- "$current")
        ;;
      *) COMPREPLY+=("\${reply#"$broken"}") ;;
    esac
  done < <("\${words[0]}" __complete -- "\${words[@]:1}" 2>/dev/null)
  case \${COMPREPLY[0]-} in *=) [ "\${#COMPREPLY[@]}" -eq 1 ] && compopt -o nospace 2>/dev/null ;; esac
}
complete -F _siteagent_complete siteagent
`;

const zsh = `#compdef siteagent
# siteagent completion for zsh, after compinit: source <(siteagent completion zsh)
_siteagent_complete() {
  local -a replies plain open
  local reply
  replies=("\${(@f)$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for reply in $replies; do
    case $reply in
      __files__) _files ;;
      '') ;;
      *=) open+=("$reply") ;; # the value follows at once
      *) plain+=("$reply") ;;
    esac
  done
  (( \${#open} )) && compadd -Q -S '' -- $open
  (( \${#plain} )) && compadd -Q -- $plain
}
compdef _siteagent_complete siteagent
`;

const fish = `# siteagent completion for fish: siteagent completion fish > ~/.config/fish/completions/siteagent.fish
function __siteagent_complete
    set -l words (commandline -opc) (commandline -ct)
    for reply in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        switch $reply
            case __files__
                __fish_complete_path (commandline -ct)
            case '?*'
                echo $reply
        end
    end
end
complete -c siteagent -f -a '(__siteagent_complete)'
`;

export const completionScripts = { bash, zsh, fish } as const;
