#!/usr/bin/perl
# siteagent node agent: starts attempts on one node of an allocation that a scheduler gave. Usage: perl node.pl KEY=VALUE …
#   allocation=DIR  its directory on the shared file system   recorder=PATH  recorder.pl   nodes=N
#   cores=N memory=BYTES  of this node, 0 = not counted       began=EPOCH walltime=S  of the allocation
#   margin=S  before its end attempts are ended               idle=S  without work it ends, 0 = never   beat=S  between signs of life
# Needs perl-base and no module. Everything goes through DIR/nodes/I/:
#   inbox/NAME.order   orders, taken in the order of their names, moved to taken/ and removed when all of their attempts are over:
#                      run TOKEN CORES MEMORY GPUS NEED_S GRACE_MS DIRECTORY_BYTES PLAN_BYTES \n directory plan | stop TOKEN \n
#                      lead …, as run, of which parts may run outside of its recorder's tree | hold TOKEN CORES MEMORY GPUS \n, room for one that
#                      another node starts | free TOKEN \n, the room is needed no longer
#   events-N           what happened, one line each: beat WALL LEFT_S HOST | started TOKEN WALL | ended TOKEN [STARTED RECORD] (of rc the second
#                      line, where nothing else there says more) | back TOKEN why (it was not and will not be started here) | failed TOKEN why
#                      (nothing of it ran) | gone TOKEN (its recorder was killed, nothing of it is left) | clear TOKEN (nothing is left of one for
#                      which room was held) | calm WALL (all is well some time after an attempt failed) | ending WALL why | over
#   idle               nothing is to be done; when all nodes say so, they end
# In the directory of an attempt: allocation (who has it), plan; lost and then stop when it is ended for the allocation's sake; "time" stands in
# lost when it is the allocation's time that was over.
# Attempts hang on a leash (recorder.pl): when this process or the one that forks recorders is killed they end.
use strict;

my %o = map { /^(\w+)=(.*)$/s } @ARGV;
# System calls by machine type of the ELF header: perl-base has no module for these that is cheap to load.
my %calls = (62 => { prctl => 157, clock => 228 }, 183 => { prctl => 167, clock => 113 });
open(my $self, '<', '/proc/self/exe') or die "siteagent: cannot read /proc/self/exe: $!\n";
sysread($self, my $elf, 20);
close $self;
my $nr = $calls{ unpack('x18 v', $elf) } or die "siteagent: unknown processor\n";
# PR_SET_CHILD_SUBREAPER: what a killed recorder leaves behind comes to us
syscall($nr->{prctl}, 36, 1, 0, 0, 0) == 0 or die "siteagent: cannot become subreaper: $!\n";
umask 077;

my $home;
for my $index (0 .. $o{nodes} - 1) {
  next unless mkdir "$o{allocation}/nodes/$index";
  $home = "$o{allocation}/nodes/$index";
  last;
}
# A second submission, or an allocation that the scheduler began again: the first has or had its attempts.
if (!defined $home) { print STDERR "siteagent: this allocation was begun before\n"; exit 125 }
chdir '/';
# As its scheduler calls it, where that says so: starters are told these names.
(my $hostname = $ENV{SLURMD_NODENAME} // slurp('/proc/sys/kernel/hostname') // '-') =~ s/\s//g;

my (%attempts, @queue, %files);
my (%held, %sweeps);
my ($cores, $memory) = (0, 0);
my ($ending, $out_of_time, $why_term, $calm_at, $serve_over) = (undef, 0, undef, undef, 0);
my ($events, $number, $bytes, $said, $heard) = (undef, 0, 0, '', '');
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { };    # only to end the wait
for my $name (qw(TERM INT HUP USR1 USR2 XCPU)) { $SIG{$name} = sub { $why_term = "the scheduler sent SIG$name" } }

my ($to_serve, $from_serve, $serve) = serve();
my $began = time - $o{began};
my $begin = clock() - ($began >= 0 && $began < 86400 ? $began : 0);
my ($busy_at, $beat_at, $look_at) = (clock(), 0, 0);
my ($resting, $rest_look) = (0, undef);
mkdir "$home/taken";
mkdir "$home/inbox" or die "siteagent: cannot make '$home/inbox': $!\n";

while (1) {
  my $now = clock();
  if ($now >= $beat_at) { say_event('beat ' . wall() . ' ' . left($now) . " $hostname"); $beat_at = $now + $o{beat} }
  if (defined $calm_at && $now >= $calm_at) { say_event('calm ' . wall()); undef $calm_at }
  end_all($why_term) if defined $why_term;
  if (left($now) <= $o{margin}) { $out_of_time = !$ending unless $out_of_time; end_all('its time is over') }
  if ($now >= $look_at) {
    $busy_at = $now if take_orders('inbox');
    my $pause = ($now - $busy_at) / 10;
    $look_at = $now + ($pause < 0.03 ? 0.03 : $pause > 1 ? 1 : $pause);
  }
  start_what_fits($now);
  for my $token (keys %attempts) { finish_rest($token) if ($attempts{$token}{rest_at} // 9e99) <= $now }
  for my $token (keys %sweeps) { sweep($token, $now) if $sweeps{$token}{at} <= $now }
  reap();
  rest($now) if !$ending && $o{idle} > 0;
  if ($ending) {
    if ($now >= $ending + $o{margin} * 0.8) { begin_sweep($_) for keys %held }
    if (!%attempts && !%held) { close_inbox(); last unless %attempts || %held }
  }
  write_events();
  listen_for($look_at - clock());
}
say_event('over');
write_events();
close $to_serve;
exit(defined $why_term ? 143 : $serve_over ? 70 : 0);

# ---- orders
sub take_orders {
  my ($place) = @_;
  opendir(my $directory, "$home/$place") or return 0;
  my @names = sort grep { /\.order$/ } readdir $directory;
  closedir $directory;
  for my $name (@names) {
    my $text = slurp("$home/$place/$name");
    next unless defined $text && rename "$home/$place/$name", "$home/taken/$name";
    $files{$name} = 0;
    while ($text =~ /\G(run|lead|hold|stop|free) ([a-z0-9]{15})(?: (\d+) (\d+) (\S+)(?: (\d+) (\d+) (\d+) (\d+))?)?\n/gc) {
      my ($verb, $token) = ($1, $2);
      if ($verb eq 'stop') { stop_attempt($token); next }
      if ($verb eq 'free') { begin_sweep($token); next }
      my %one = (cores => $3, memory => $4, need => $6, grace => $7, file => $name, lead => $verb eq 'lead');
      if ($verb eq 'hold') { hold($token, \%one); next }
      my ($length, $size) = ($8, $9);
      my $at = pos $text;
      @one{qw(directory plan)} = (substr($text, $at, $length), substr($text, $at + $length, $size));
      pos($text) = $at + $length + $size;
      next if $attempts{$token};
      if ($ending) { say_event("back $token the allocation ends"); next }
      $attempts{$token} = \%one;
      $files{$name}++;
      push @queue, $token;
    }
    drop_file($name);
  }
  return scalar @names;
}

sub drop_file { my ($name) = @_; if ($files{$name} == 0) { delete $files{$name}; unlink "$home/taken/$name" } }

# In the order in which they came; GPUs were given out by who sent them.
sub start_what_fits {
  my ($now) = @_;
  while (@queue) {
    my $token = $queue[0];
    my $one = $attempts{$token};
    if (!$one || $one->{state}) { shift @queue; next }
    return if ($one->{again_at} // 0) > $now;
    if ($ending) { shift @queue; give_back($token, 'the allocation ends'); next }
    if ($one->{need} > 0 && $one->{need} > left($now) - $o{margin}) { shift @queue; give_back($token, 'too little time is left'); next }
    return if $o{cores} > 0 && $cores + $one->{cores} > $o{cores};
    return if $o{memory} > 0 && $memory + $one->{memory} > $o{memory};
    shift @queue;
    if (!write_file("$one->{directory}/allocation", "$home\n") || !write_file("$one->{directory}/plan", $one->{plan})) {
      give_back($token, "its directory cannot be written: $!");
      next;
    }
    delete $one->{plan};
    $one->{state} = 'starting';
    $cores += $one->{cores};
    $memory += $one->{memory};
    syswrite($to_serve, "$token $one->{directory}\0");
  }
}

# Room that the sender knows to be free.
sub hold {
  my ($token, $one) = @_;
  return if $held{$token};
  $held{$token} = $one;
  $files{ $one->{file} }++;
  $cores += $one->{cores};
  $memory += $one->{memory};
}

# Once.
sub free_share {
  my ($one) = @_;
  return if $one->{freed}++;
  $cores -= $one->{cores};
  $memory -= $one->{memory};
}

sub give_back { my ($token, $why) = @_; say_event("back $token $why"); forget($token) }

sub forget {
  my ($token) = @_;
  my $one = delete $attempts{$token} or return;
  free_share($one) if $one->{state};
  $files{ $one->{file} }--;
  drop_file($one->{file});
  $busy_at = clock();
}

# Who ordered it has written `stop`, or taken the guard of what waits.
sub stop_attempt {
  my ($token) = @_;
  my $one = $attempts{$token} or return;
  if (!$one->{state}) { give_back($token, 'stopped'); return }
  kill 'USR1', $one->{recorder} if $one->{recorder};
}

# ---- what recorders say
sub serve {
  pipe(my $in, my $to) && pipe(my $from, my $out) or die "siteagent: no pipe: $!\n";
  my $pid = fork;
  defined $pid or die "siteagent: cannot fork: $!\n";
  if ($pid == 0) {
    setpgrp 0, 0;
    $SIG{$_} = 'IGNORE' for qw(TERM INT HUP USR1 USR2 XCPU);    # it ends with us
    open(STDIN, '<&', $in);
    open(STDOUT, '>&', $out);
    close $_ for $in, $to, $from, $out;
    exec $^X, $o{recorder}, '--serve', '--leash';
    exit 127;
  }
  close $in; close $out;
  return ($to, $from, $pid);
}

sub listen_for {
  my ($seconds) = @_;
  vec(my $bits = '', fileno $from_serve, 1) = 1 unless $serve_over;
  my $ready = select($serve_over ? undef : $bits, undef, undef, $seconds < 0 ? 0 : $seconds);
  return unless $ready > 0;
  my $got = sysread($from_serve, $heard, 65536, length $heard);
  return unless $got;    # its end is seen by reap
  while ($heard =~ s/^([a-z0-9]+) (\w+) ?([^\n]*)\n//) { take_word("$1", "$2", "$3") }
}

sub take_word {
  my ($token, $word, $rest) = @_;
  my $one = $attempts{$token} or return;
  if ($word eq 'started') {
    $one->{state} = 'running';
    $one->{recorder} = (split ' ', $rest)[2];
    $one->{started} = (split ' ', $rest)[4] // wall();
    say_event("started $token $one->{started}");
    end_one($one) if $ending;
  }
  elsif ($word eq 'busy') {
    $cores -= $one->{cores};
    $memory -= $one->{memory};
    delete $one->{state};
    $one->{plan} = slurp("$one->{directory}/plan");
    $one->{again_at} = clock() + 1;
    unshift @queue, $token;
  }
  elsif ($word eq 'done') { free_share($one) unless $one->{lead} }
  elsif ($word eq 'error') { $one->{failed} = $rest // '' }
  elsif ($word eq 'refused' || $word eq 'guard') { say_event("ended $token"); forget($token) }
  elsif ($word eq 'ended') { over($token) or $one->{rest_at} //= clock() + 0.3 }
  elsif ($word eq 'exited') {
    return if over($token);
    if (defined $one->{failed}) { say_event("failed $token $one->{failed}"); forget($token) }
    else { $one->{state} = 'orphaned'; undef $one->{recorder} }
  }
}

# True when the exit record is there and nothing of the attempt is left.
sub over {
  my ($token) = @_;
  my $one = $attempts{$token};
  my $directory = $one->{directory};
  my ($record, $kind, $value, $alone) = (slurp("$directory/rc") // '') =~ /^\d+\n1 ((\w+) (\d+) \d+ \S+ ([01]) .*)$/m;
  return 0 unless defined $kind && ($alone || -e "$directory/gone");
  if ($one->{lead} && !$one->{swept}) { begin_sweep($token); return 1 }
  $calm_at = clock() + 1.2 unless $kind eq 'exit' && $value == 0;
  say_event("ended $token" . (tells_all($one, $record) ? " $one->{started} $record" : ''));
  forget($token);
  return 1;
}

# Whoever follows it need not look at its directory.
sub tells_all {
  my ($one, $record) = @_;
  return 0 unless $one->{started} && $record =~ /^(?:exit|signal) \d+ \d+ (?:-|timeout) 1 [\d.]+ [\d.]+$/;
  -e "$one->{directory}/$_" and return 0 for qw(out.dropped err.dropped oom);
  return 1;
}

# Its command has ended, something that it started has not: that ends, too, or it would keep what others were promised.
sub finish_rest {
  my ($token) = @_;
  my $one = $attempts{$token};
  return if over($token);
  $one->{rest_at} = clock() + 5;
  put("$one->{directory}/stop", "1000\nleft over by an ended attempt\n");
  kill 'USR1', $one->{recorder} if $one->{recorder};
}

# ---- children: the process that forks recorders, and what comes to us because its parent was killed
sub reap {
  while ((my $pid = waitpid -1, 1) > 0) {
    next if $pid != $serve;
    # Recorders lose their leash with it and end their attempts; they are our children now.
    $serve_over = 1;
    end_all('the process that forks recorders was killed');
  }
  my @orphaned = grep { ($attempts{$_}{state} // '') eq 'orphaned' } keys %attempts;
  return unless @orphaned || $serve_over;
  my @left = tree();
  if (@left) {
    return if $serve_over && clock() < $ending + $o{margin};
    kill 'STOP', @left;
    kill 'KILL', @left, tree();
    $look_at = clock() + 0.05;
    return;
  }
  for my $token ($serve_over ? keys %attempts : @orphaned) {
    next if over($token);
    if ($attempts{$token}{lead} && !$attempts{$token}{swept}) { begin_sweep($token); next }
    say_event("gone $token");
    forget($token);
  }
}

# ---- what a starter's daemons run here: it bears the attempt's token in its environment. Twice nothing: one may have been on its way.
sub begin_sweep { my ($token) = @_; $sweeps{$token} //= { at => 0 }; $look_at = 0 if $sweeps{$token}{at} == 0 }

sub sweep {
  my ($token, $now) = @_;
  my $sweep = $sweeps{$token};
  my @left = bearers($token);
  if (@left) { kill 'STOP', @left; kill 'KILL', @left, bearers($token); $sweep->{empty} = 0 }
  elsif ($sweep->{empty}++) {
    delete $sweeps{$token};
    if (my $one = $attempts{$token}) { $one->{swept} = 1; over($token); return }
    if (my $one = delete $held{$token}) {
      free_share($one);
      $files{ $one->{file} }--;
      drop_file($one->{file});
    }
    say_event("clear $token");
    return;
  }
  $sweep->{at} = $now + (@left ? 0.05 : 0.3);
  $look_at = $sweep->{at} if $sweep->{at} < $look_at;
}

sub bearers {
  my ($token) = @_;
  opendir(my $proc, '/proc') or return ();
  my @found = grep { /^\d+$/ && $_ != $$ && index("\0" . (slurp("/proc/$_/environ") // ''), "\0SITEAGENT_ATTEMPT_TOKEN=$token\0") >= 0 } readdir $proc;
  closedir $proc;
  return @found;
}

# All our descendants but the process that forks recorders and its recorders.
sub tree {
  my %children;
  opendir(my $proc, '/proc') or return ();
  for my $pid (grep { /^\d+$/ } readdir $proc) {
    my $line = slurp("/proc/$pid/stat") // next;
    my ($state, $parent) = split ' ', substr($line, rindex($line, ')') + 2);
    push @{ $children{$parent} }, $pid unless $state eq 'Z' || $state eq 'X';
  }
  closedir $proc;
  my @found = grep { $_ != $serve } @{ $children{$$} // [] };
  for (my $at = 0; $at < @found; $at++) { push @found, @{ $children{ $found[$at] } // [] } }
  return @found;
}

# ---- the end of the allocation
sub end_all {
  my ($why) = @_;
  return if $ending;
  $ending = clock();
  say_event('ending ' . wall() . " $why");
  write_events();
  start_what_fits($ending);
  end_one($_) for grep { $_->{state} } values %attempts;
  $busy_at = $look_at = 0;
}

# First why, then the order: an end after it is not the attempt's own.
sub end_one {
  my ($one) = @_;
  return if -e "$one->{directory}/stop" || -e "$one->{directory}/rc";
  my $most = int($o{margin} * 700);
  put("$one->{directory}/lost", wall() . ($out_of_time ? ' time' : '') . "\n");
  put("$one->{directory}/stop", ($one->{grace} < $most ? $one->{grace} : $most) . "\nthe allocation ends\n");
  kill 'USR1', $one->{recorder} if $one->{recorder};
}

# Nothing can be put into it any more; what came before that is given back.
sub close_inbox { rename "$home/inbox", "$home/closed" and take_orders('closed') }

# The scheduler takes nodes back only all together.
sub rest {
  my ($now) = @_;
  my $idle = !%attempts && !%held && !%sweeps && $now - $busy_at >= $o{idle};
  if ($idle != $resting) { $idle ? write_file("$home/idle", '') : unlink "$home/idle"; $resting = $idle }
  return if !$idle || $now < ($rest_look // 0);
  $rest_look = $now + 1;
  end_idle() unless grep { -d "$o{allocation}/nodes/$_" && !-e "$o{allocation}/nodes/$_/idle" } 0 .. $o{nodes} - 1;
}

sub end_idle {
  # With its directory gone nobody can hand over anything any more, and nobody looks after it.
  if (!rename "$home/inbox", "$home/closed") { return if -e $home || $! != 2 }
  elsif (take_orders('closed')) { rename "$home/closed", "$home/inbox"; $busy_at = clock(); return }
  $ending = clock();
  say_event('ending ' . wall() . ' nothing was to be done');
}

# ---- small parts
sub say_event { $said .= "$_[0]\n" }

# A file that grew large is followed by another; the last ones stay.
sub write_events {
  return if $said eq '';
  if (!$events || $bytes > 262144) {
    close $events if $events;
    $number++;
    unlink "$home/events-" . ($number - 4);
    open($events, '>>', "$home/events-$number") or do { undef $events; return };
    $bytes = 0;
  }
  my $wrote = syswrite($events, $said) or return;
  $bytes += $wrote;
  substr($said, 0, $wrote) = '';
}

sub left { my ($now) = @_; return int($o{walltime} - ($now - $begin)) }

sub write_file { open(my $file, '>', $_[0]) or return 0; my $n = syswrite($file, $_[1]) // -1; return close($file) && $n == length $_[1] }

# Replaces a file whole.
sub put { return write_file("$_[0].tmp", $_[1]) && rename "$_[0].tmp", $_[0] }

sub slurp { open(my $file, '<', $_[0]) or return undef; local $/; my $all = <$file>; close $file; return $all }

sub clock { my $t = pack('qq', 0, 0); syscall($nr->{clock}, $_[0] // 1, $t); my ($s, $n) = unpack 'qq', $t; return $s + $n / 1e9 }
sub wall { return int(clock(0) * 1000) }
