/**
 * The first process of an attempt in a container of Podman or Docker. The container is no child of the engine's program, and Docker's is
 * not even among the attempt's processes: a program that is killed leaves it running. So when the attempt is told to end, the guard has the
 * engine end the container before the attempt's own processes are killed, and it ends only when the engine says that there is no
 * container any more. What is left when the guard itself is killed, the launcher removes and proves (container-proof.ts).
 */

/** What a container of ours is known by. */
export const attemptLabel = "siteagent.attempt";

/** Between the engine's KILL and that of the recorder, so that the guard sees the end. */
const marginMs = 2_000;

/**
 * Arguments are the container's name, seconds, the engine's program, and the arguments of `run`. Docker's `stop` is the daemon's own affair
 * once it was asked: it goes on when whoever asked is killed.
 */
const script = `
name=$1 patience=$2 engine=$3
shift 3
trap '"$engine" stop -t "$patience" "$name" >/dev/null 2>&1 &' HUP INT TERM
"$engine" "$@" &
client=$!
wait "$client"
code=$?
while kill -0 "$client" 2>/dev/null; do
  wait "$client"
  code=$?
done
until left=$("$engine" ps --all --quiet --filter "label=${attemptLabel}=$name" 2>/dev/null) && [ -z "$left" ]; do
  "$engine" rm --force --volumes "$name" >/dev/null 2>&1
  sleep 1
done
exit "$code"
`.trim();

/** `run`: the engine's arguments. A grace of less than two seconds is none for the container. */
export function guarded(
  what: { readonly name: string; readonly program: string; readonly graceMs: number },
  run: readonly string[],
): readonly [string, ...string[]] {
  const patienceS = Math.max(0, Math.floor((what.graceMs - marginMs) / 1000));
  return ["/bin/sh", "-c", script, "siteagent-container", what.name, String(patienceS), what.program, ...run];
}
