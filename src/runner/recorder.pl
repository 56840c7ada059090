#!/usr/bin/perl
# siteagent recorder, strong form: first process and witness of one attempt. Usage: perl recorder.pl DIRECTORY
# or perl recorder.pl --serve: forks a recorder for each "TOKEN DIRECTORY\0" on stdin, which is cheaper than a new perl for each;
# with --leash behind it recorders end their attempts when that process is gone (file `lost` tells why), and the environment of a plan is
# laid over the one that was found: so on the nodes of an allocation (node.pl).
# Needs perl-base and no module. Same evidence as recorder.sh, which is the form for machines without perl; in addition:
#   - it is the subreaper of the attempt: nothing that the job starts can leave its tree, and "no child left" is proven by the kernel;
#   - an exit code is told from a signal; a command that cannot be executed is told from one that exits 127;
#   - it carries out stop orders (file `stop`, woken by SIGUSR1) itself, so that a stop survives agent and runner.
# Reads DIRECTORY/plan (fields separated by NUL, see plan-files.ts). Writes started/, recorder, job, out, err, timeout,
# warned, out.dropped, err.dropped, unkillable, oom, rc, gone. Says on stdout, for a runner that may be gone: guard | started JOB TICKS RECORDER TICKS WALL |
# refused … | error … | ended; with --leash done before ended; with --serve each line begins with the token, and TOKEN busy … and TOKEN exited are said for it.
use strict;

# System calls by machine type of the ELF header: perl-base has no module for these that is cheap to load.
my %calls = (
  62 => { prctl => 157, setsid => 112, fsync => 74, prlimit => 302, clock => 228, mask => 14, wait => 128, punch => 285, usage => 98, shut => 3, leave => 231 },
  183 => { prctl => 167, setsid => 157, fsync => 82, prlimit => 261, clock => 113, mask => 135, wait => 137, punch => 47, usage => 165, shut => 57, leave => 94 },
);
open(my $self, "<", "/proc/self/exe") or fail("cannot read /proc/self/exe: $!");
sysread($self, my $elf, 20);
my $nr = $calls{ unpack("x18 v", $elf) } or fail('unknown processor');
close $self;
my ($CHLD, $USR1) = (17, 10);
my $signals = pack('Q', (1 << ($CHLD - 1)) | (1 << ($USR1 - 1)));
my $said = '';    # begins each line
my $where;        # boot, pid namespace and machine, the same for all processes here

my $d = $ARGV[0];
my $leash = ($ARGV[1] // '') eq '--leash' ? $$ : 0;
$d = serve() if $d eq '--serve';

# PR_SET_CHILD_SUBREAPER
syscall($nr->{prctl}, 36, 1, 0, 0, 0) == 0 or fail("cannot become subreaper: $!");
if ($ARGV[0] eq '--probe') { syswrite(STDOUT, "ok 1\n"); exit 0 }

umask 077;
chdir '/';
$SIG{$_} = 'IGNORE' for qw(HUP INT QUIT TERM PIPE USR2 TSTP TTIN TTOU ALRM);    # polite signals are for the job, not for its witness
syscall($nr->{mask}, 0, $signals, 0, 8);                                      # taken by sigtimedwait below: no lost wake-ups
syscall($nr->{prctl}, 1, $USR1, 0, 0, 0) if $leash;                           # PR_SET_PDEATHSIG

my $text = slurp("$d/plan");
defined $text or fail("cannot read the plan: $!");
my ($format, $token, $limit, $grace, $mask, $cwd, $cap, $cgroup, $nofile, $oom, $warning, $count, @rest) = split /\0/, $text, -1;
$format eq 'siteagent-plan 1' or fail("unknown plan '$format'");
my @environment = splice @rest, 0, $count;
my @argv = @rest;

# At most one start per attempt, whoever tries and however often.
if (!mkdir "$d/started") { my $why = "$!"; refuse_second() if -d "$d/started"; fail("cannot make the start guard: $why") }
for (qw(recorder job rc)) { refuse_second() if -e "$d/$_" }
my $mine = identity($$);
# On the nodes of an allocation the guard alone must outlive a crash: with them goes every process that the identity names.
put('recorder', "$mine perl\n", $leash ? 'name' : 1, 0) or fail("cannot write evidence: $!");

pipe(my $go_read, my $go_write) && pipe(my $told_read, my $told_write) or fail("no pipe: $!");
my $begin = clock(1);
my $job = fork;
defined $job or fail("cannot fork: $!");
if ($job == 0) { close $go_write; close $told_read; become_job() }
close $go_read; close $told_write;
# The job's identity is on disk before its first instruction; if we die before "go", it ends without having run.
my $its = identity($job);
put('job', "$its\n", 0, 0) or do { my $why = "$!"; close $go_write; fail("cannot write evidence: $why") };
syswrite($go_write, 'g');
close $go_write;
my $told = '';
1 while sysread($told_read, $told, 4096, length $told);
close $told_read;
if ($told ne '') {
  waitpid $job, 0;
  my ($code, $why) = split / /, $told, 2;
  put('rc', "$code\n1 launch $code " . wall() . " - 1 0 0 $why\n", 1, 1);
  remove_cgroup();
  announce("refused $code $why");
  leave();
}
announce(join ' ', 'started', (split ' ', $its)[1, 2], (split ' ', $mine)[1, 2], (split ' ', $its)[6]);

my ($recorded, $marker, $stopping, $kill_at, $told_unkillable, $waits) = (0, '-', 0, undef, 0, 0);
my %hole = (out => 0, err => 0);
my %seen = (out => 0, err => 0);
my $limit_at = $limit eq '' ? undef : $begin + $limit / 1000;
my ($warn_ms, $warn_signal, $warn_to) = split / /, $warning;
my $warn_at = defined $warn_ms ? $begin + $warn_ms / 1000 : undef;
my $cap_at = $cap > 0 ? $begin : undef;
while (1) {
  my ($ended, $alone, $status) = reap();
  record($status, $alone) if $ended;
  if ($recorded && $alone) {
    put('gone', "1 subreaper " . wall() . "\n", 0, 0) if $recorded == 1;
    remove_cgroup();
    announce('ended');
    leave();
  }
  my $now = clock(1);
  if (defined $warn_at && $now >= $warn_at) {
    undef $warn_at;
    warn_job() unless $recorded || $stopping || -e "$d/stop";
  }
  if (defined $limit_at && $now >= $limit_at) {
    undef $limit_at;
    if (!$recorded && !$stopping) { put('timeout', wall() . "\n", 0, 0); $marker = 'timeout' }
    stop_tree($now, $grace) unless $stopping;
  }
  if ($leash && !$stopping && getppid() != $leash) {
    if (!$recorded) { put('lost', wall() . "\n", 0, 0); $marker = 'stop' }
    stop_tree($now, $grace);
  }
  if (-e "$d/stop" && (!$stopping || !$waits++)) {
    my ($wanted) = (slurp("$d/stop") // '') =~ /^(\d+)/;
    $wanted = $grace unless defined $wanted;
    if (!$stopping) { $marker = 'stop' unless $recorded; stop_tree($now, $wanted) }
    elsif (defined $kill_at && $now + $wanted / 1000 < $kill_at) { $kill_at = $now + $wanted / 1000 }
  }
  my $next = defined $limit_at ? $limit_at : $now + 3600;
  $next = $warn_at if defined $warn_at && $warn_at < $next;
  if ($stopping) {
    if ($now >= $kill_at) {
      kill_tree();
      if (!$told_unkillable && $now >= $kill_at + 60) { $told_unkillable = 1; put('unkillable', join(' ', tree()) . "\n", 0, 0) }
      my $pause = $now < $kill_at + 2 ? 0.05 : $now < $kill_at + 60 ? 0.5 : 5;
      $next = $now + $pause if $now + $pause < $next;
    }
    elsif ($kill_at < $next) { $next = $kill_at }
  }
  if (defined $cap_at) {
    $cap_at = $now + trim() if $now >= $cap_at;
    $next = $cap_at if $cap_at < $next;
  }
  my $left = $next - clock(1);
  if ($left > 0) {
    my $whole = int $left;
    my $time = pack('qq', $whole, int(($left - $whole) * 1e9));
    my $got = syscall($nr->{wait}, $signals, 0, $time, 8);
    $waits = 0 if $got == $USR1;
  }
}

# ---- one process that becomes many recorders; returns in a recorder, with its directory
sub serve {
  my %token;    # of each recorder that lives, by pid
  my $wanted = '';
  $where = where();
  $SIG{CHLD} = sub { };    # only to end the wait; one that slips in before it is seen a second later
  $SIG{PIPE} = 'IGNORE';
  while (1) {
    vec(my $in = '', 0, 1) = 1;
    my $ready = select($in, undef, undef, %token ? 1 : undef);
    while ((my $pid = waitpid -1, 1) > 0) { syswrite(STDOUT, delete($token{$pid}) . " exited\n") }
    next unless $ready > 0;
    my $got = sysread(STDIN, $wanted, 65536, length $wanted);
    exit 0 if defined $got && $got == 0;    # the runner is gone; the recorders go on
    while ($wanted =~ s/^([a-z0-9]+) ([^\0]*)\0//) {
      my ($token, $directory) = ($1, $2);
      my $pid = fork;
      if (!defined $pid) { syswrite(STDOUT, "$token busy cannot fork: $!\n") }
      elsif ($pid) { $token{$pid} = $token }
      else {
        $SIG{CHLD} = 'DEFAULT';
        syscall($nr->{setsid});
        open(STDIN, '<', '/dev/null');
        $said = "$token ";
        $0 = "$0 $directory";
        return $directory;
      }
    }
  }
}

# ---- the job's side of the fork: never returns
sub become_job {
  my $why = sub { syswrite($told_write, "$_[0] $_[1]"); exit $_[0] };
  syscall($nr->{setsid});
  $SIG{$_} = 'DEFAULT' for qw(HUP INT QUIT TERM PIPE USR1 USR2 TSTP TTIN TTOU ALRM CHLD);
  open(STDIN, '<', '/dev/null') && open(STDOUT, '>>', "$d/out") && open(STDERR, '>>', "$d/err") or $why->(126, "cannot open the output files: $!");
  if ($cgroup ne '') { write_file("$cgroup/cgroup.procs", '0') or $why->(126, "cannot enter the control group: $!") }
  sysread($go_read, my $go, 1) or exit 125;
  soft_limit(7, $nofile) if $nofile ne '';
  soft_limit(4, 0);
  my $oom = slurp('/proc/self/oom_score_adj') // 500;
  write_file('/proc/self/oom_score_adj', '500') if $oom < 500;
  close_others();
  chdir $cwd or $why->(126, "cannot enter the working directory '$cwd': $!");
  umask oct $mask;
  syscall($nr->{mask}, 1, $signals, 0, 8);
  delete $ENV{OLDPWD};
  %ENV = ($leash ? %ENV : (), map { my ($name, $value) = split /=/, $_, 2; ($name => $value) } @environment);
  exec { $argv[0] } @argv;
  my $number = $! + 0;
  my $reason = "cannot execute '$argv[0]': $!";
  if ($number == 2 && -e $argv[0]) {
    my $head = '';
    if (open my $file, '<', $argv[0]) { sysread($file, $head, 256) }
    my ($interpreter) = $head =~ /^#!\s*(\S+)/;
    $reason .= ' (the file is there: its ' . (defined $interpreter ? "interpreter '$interpreter'" : 'loader') . ' is missing)';
  }
  $why->($number == 2 ? 127 : 126, $reason);
}

# What a careless ancestor left open; our own descriptors close by themselves at exec.
sub close_others {
  return if syscall(436, 3, 0xffffffff, 4) == 0;    # close_range with CLOEXEC, the same number on both processors
  my %ours = map { fileno($_) => 1 } ($told_write, $go_read);
  opendir(my $open, '/proc/self/fd') or return;
  for my $n (readdir $open) { syscall($nr->{shut}, $n + 0) if $n =~ /^\d+$/ && $n > 2 && !$ours{$n} }
}

sub soft_limit {
  my ($what, $soft) = @_;
  my $old = pack('QQ', 0, 0);
  syscall($nr->{prlimit}, 0, $what, 0, $old) == 0 or return;
  my (undef, $hard) = unpack 'QQ', $old;
  $soft = $hard if $soft > $hard;
  my $new = pack('QQ', $soft, $hard);
  syscall($nr->{prlimit}, 0, $what, $new, 0);
}

# ---- the end
# Takes every child that ended: (main process ended, no child left at all, its wait status).
sub reap {
  my ($ended, $status) = (0, 0);
  while (1) {
    my $pid = waitpid -1, 1;
    return ($ended, $pid < 0 ? 1 : 0, $status) if $pid <= 0;
    if ($pid == $job) { $ended = 1; $status = $? }
  }
}

sub record {
  my ($status, $alone) = @_;
  my $usage = pack('q18', (0) x 18);
  syscall($nr->{usage}, -1, $usage);
  my @u = unpack 'q18', $usage;
  my $cpu = sprintf '%.3f', $u[0] + $u[2] + ($u[1] + $u[3]) / 1e6;
  my $rss = $u[4] * 1024;
  # What it had of the node is free; that it has ended is said when the record is there.
  announce('done') if $alone && $leash;
  $marker = 'stop' if $marker eq '-' && -e "$d/stop";
  my $signal = $status & 127;
  my ($kind, $code, $shown) = $signal ? ('signal', $signal, 128 + $signal) : ('exit', $status >> 8, $status >> 8);
  trim() if defined $cap_at;
  note_oom() if $shown && $marker eq '-' && $oom ne '';
  put('rc', "$shown\n1 $kind $code " . wall() . " $marker $alone $rss $cpu\n", 1, 1);
  $recorded = $alone ? 2 : 1;
  announce('ended') unless $alone;
}

# The kernel counts what it kills for lack of memory, before it does it.
sub note_oom {
  my ($whose, $before, $file) = split / /, $oom, 3;
  my ($now) = (slurp($file) // '') =~ /^oom_kill (\d+)$/m;
  put('oom', "1 $whose " . ($now - $before) . "\n", 0, 0) if defined $now && $now > $before;
}

# ---- the tree: every process of the attempt descends from us
sub tree {
  my %children;
  opendir(my $proc, '/proc') or return ();
  for my $pid (grep { /^\d+$/ } readdir $proc) {
    my @s = stat_of($pid) or next;
    next if $s[0] eq 'X';
    push @{ $children{ $s[1] } }, $s[0] eq 'Z' && threads_of($pid) < 2 ? -$pid : $pid;
  }
  closedir $proc;
  my (@found, @look) = ();
  @look = ($$);
  while (@look) {
    my $parent = shift @look;
    for my $child (@{ $children{$parent} // [] }) {
      push @look, abs $child;
      push @found, $child if $child > 0;
    }
  }
  return @found;
}

# A process whose first thread has ended shows as a zombie while other threads run on.
sub threads_of { opendir(my $tasks, "/proc/$_[0]/task") or return 0; return scalar grep { /^\d/ } readdir $tasks }

# The signal before the limit. Our children keep their numbers until we have taken their ends: nobody else can be hit by mistake.
sub warn_job {
  put('warned', wall() . "\n", 0, 0);
  my @pids = $warn_to eq 'all' ? tree() : ($job);
  kill $warn_signal, @pids if @pids;
}

sub stop_tree {
  my ($now, $grace_ms) = @_;
  $stopping = 1;
  $kill_at = $now + $grace_ms / 1000;
  return if $grace_ms == 0;
  my @pids = tree();
  kill 'TERM', @pids if @pids;
  kill 'CONT', @pids if @pids;
}

# Freeze first, so that nothing forks faster than we look; then kill.
sub kill_tree {
  write_file("$cgroup/cgroup.kill", '1') if $cgroup ne '';
  my %stopped;
  for (1 .. 20) {
    my @new = grep { !$stopped{$_}++ } tree();
    last unless @new;
    kill 'STOP', @new;
  }
  kill 'KILL', keys %stopped if %stopped;
}

sub remove_cgroup { rmdir $cgroup if $cgroup ne '' }

# ---- output: beyond the cap the middle is taken out of the file, under the job's hands and without its notice.
# Keeps the head and a rolling tail; offsets stay true; NAME.dropped says "FROM TO". Returns seconds until the next look.
sub trim {
  my $next = 5;
  for my $name (qw(out err)) {
    my $size = -s "$d/$name" || 0;
    $hole{$name} = 0 if $size < $hole{$name};    # the job emptied its own output
    my $head = $cap < 262144 ? int($cap / 4) : 65536;
    my $kept = $hole{$name} ? $head + $size - $hole{$name} : $size;
    if ($kept > $cap) {
      my $to = $size - int(($cap - $head) / 2);
      my $from = $hole{$name} || $head;
      if (open my $file, '+<', "$d/$name") {
        if (syscall($nr->{punch}, fileno $file, 3, $from, $to - $from) != 0) { truncate $file, $head; $to = $size }
        close $file;
        $hole{$name} = $to;
        put("$name.dropped", "$head $to\n", 0, 0);
      }
    }
    my $growth = ($size - $seen{$name}) / 5;
    $seen{$name} = $size;
    my $pause = $growth > 0 ? ($cap - ($kept > $cap ? 0 : $kept)) / (8 * $growth) : 5;
    $pause = 0.2 if $pause < 0.2;
    $next = $pause if $pause < $next;
  }
  return $next;
}

# ---- small parts
# Replaces a file whole. `durable`: synced before and after; 'name': only after, with all names in the directory; `patient`: waits while the disk is full, as long as the directory is there.
sub put {
  my ($name, $content, $durable, $patient) = @_;
  while (1) {
    unlink "$d/$name.tmp";    # where the job has put a fifo, opening it would wait for a reader
    if (open my $file, '>:unix', "$d/$name.tmp") {
      my $good = (syswrite($file, $content) // 0) == length $content;
      $good &&= syscall($nr->{fsync}, fileno $file) == 0 if $durable && $durable ne 'name';
      $good = close($file) && $good;
      if ($good && rename "$d/$name.tmp", "$d/$name") {
        if ($durable && opendir my $directory, $d) { syscall($nr->{fsync}, fileno_dir($directory)); closedir $directory }
        return 1;
      }
    }
    next if make_way($name);
    return 0 if !$patient || !-d $d;
    select undef, undef, undef, 5;
  }
}

# A directory that the job has put in the place of evidence is moved aside: true if there was one.
sub make_way {
  my $moved = 0;
  for my $path ("$d/$_[0].tmp", "$d/$_[0]") { $moved++ if !-l $path && -d $path && rename $path, "$path.aside." . wall() }
  return $moved;
}

sub fileno_dir { my $n = fileno $_[0]; return defined $n ? $n : -1 }

sub write_file { open my $file, '>:unix', $_[0] or return 0; my $n = syswrite $file, $_[1]; return (close $file) && defined $n }

# Without perl's buffers, which cost four calls for each file.
sub slurp { open my $file, '<:unix', $_[0] or return undef; my $all = ''; 1 while sysread $file, $all, 65536, length $all; $all =~ s/\n\z//; return $all }

# (state, parent, start ticks)
sub stat_of {
  my $line = slurp("/proc/$_[0]/stat");
  return () unless defined $line;
  my @f = split ' ', substr($line, rindex($line, ')') + 2);
  return ($f[0], $f[1], $f[19]);
}

# format, pid, start ticks, boot, pid namespace, machine, wall ms
sub identity {
  my ($pid) = @_;
  my (undef, undef, $start) = stat_of($pid);
  $where //= where();
  return join ' ', 1, $pid, $start // 0, $where, wall();
}

sub where {
  my ($space) = (readlink('/proc/self/ns/pid') // '') =~ /(\d+)/;
  my $boot = slurp('/proc/sys/kernel/random/boot_id') || '-';
  my $machine = slurp('/etc/machine-id') || '-';
  return join ' ', $boot, $space // '-', $machine;
}

sub clock { my $t = pack('qq', 0, 0); syscall($nr->{clock}, $_[0], $t); my ($s, $n) = unpack 'qq', $t; return $s + $n / 1e9 }
sub wall { return int(clock(0) * 1000) }
# Short enough to be written whole: several write to one pipe.
sub announce { syswrite(STDOUT, $said . substr($_[0], 0, 4000) . "\n") }
# All is written: perl's own end would take down its whole program piece by piece, in pages that are still shared.
sub leave { syscall($nr->{leave}, 0); exit 0 }
sub fail { announce("error $_[0]"); exit 70 }
sub refuse_second { announce('guard'); exit 125 }
