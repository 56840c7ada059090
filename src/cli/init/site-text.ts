import type { Answers } from "./answers.ts";

export interface SiteText extends Answers {
  readonly secretPath: string;
  /** Absolute path or URL of the JSON Schema, for editors. */
  readonly schema: string;
}

/** The site file, with a comment at everything that people change. */
export function siteText(answers: SiteText): string {
  const { site, api, clientId, secretPath, workdir, slots, sources, destinations } = answers;
  return `# yaml-language-server: $schema=${answers.schema}
#
# The site file of siteagent: who we are, where the central API is, where things run, which apps may run. Nothing else can run.
# Check it: siteagent validate    See every setting: siteagent config show    Check the machine: siteagent doctor

site: ${text(site)} # as central knows us

api:
  url: ${text(api)}
  client_id: ${text(clientId)}
  client_secret: { file: ${text(secretPath)} } # mode 0600; the secret never stands here
${answers.allowHttp ? "  allow_http: true # the secret travels in clear\n" : ""}
hosts:
  here: ${workdir === undefined ? "{} # jobs run in work/ of the state directory" : `{ workdir: ${text(workdir)} } # jobs run below it`}

targets:
  local: { host: here, launcher: local, slots: ${slots} } # slots: attempts at the same time

# What URLs of jobs may name; nothing else is read or written. An entry allows everything below it.
policy:
  sources: ${list(sources, "https://data.example.org/")}
  destinations: ${list(destinations, "https://results.example.org/incoming/")}

# What may run here. A job names the workflow; its values are data, each {{…}} fills exactly one argument.
apps:${answers.exampleApp ? exampleApp : ` {}${commented(exampleApp)}`}`;
}

const exampleApp = `
  hello:
    workflow: hello-1.0.0
    description: says hello, to try the way of a job
    parameters:
      name: { type: string, default: world, pattern: "^[A-Za-z0-9_ ]+$" }
    command: [/bin/echo, "hello {{name}}"]
    resources: { cores: 1, walltime: 1m } # the time limit holds without the agent
    target: local
    # inputs:  { reads: { from: "{{config.reads_url}}", to: reads.fastq.gz } }
    # outputs: { report: { from: report.json, to: "https://results.example.org/incoming/{{name}}.json" } }
    # retry:   { attempts: 3, on: [timeout, node] }
`;

function commented(block: string): string {
  return block.replace(/^(?=.)/gm, "#");
}

function list(urls: readonly string[], example: string): string {
  return urls.length === 0 ? `[] # - ${example}` : urls.map((url) => `\n    - ${text(url)}`).join("");
}

/** As YAML: plain where that is safe, else in double quotes, which are JSON's. */
function text(value: string): string {
  const plain = /^[A-Za-z/][\w./:@-]*$/.test(value) && !/:$|^(?:true|false|null|yes|no|on|off|y|n|~)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}
