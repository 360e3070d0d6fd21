# What every job of a chaos run executes: it tells the ledger that it starts, does something,
# and tells the ledger how it is about to end. `sh job.sh KIND SECONDS CODE LINES`
kind=$1 seconds=$2 code=$3 lines=$4
me="$DRAWBAR_RUN_ID $DRAWBAR_JOB_ID $DRAWBAR_ATTEMPT_ID $DRAWBAR_FENCE ${CHAOS_WORKER:-unknown}"
say() { echo "$1 $(date +%s.%N) $me $2" >> "$CHAOS_FOLDER/ledger"; }

# Locks of the kernel live exactly as long as the last process of this job that is alive.
company=unseen crowd=unseen
if command -v flock > /dev/null; then
  exec 9>> "$CHAOS_FOLDER/locks/job-$DRAWBAR_RUN_ID-$DRAWBAR_JOB_ID"
  if flock -n 9; then company=alone; else company=overlap; fi
  if [ -n "$CHAOS_SLOTS" ]; then
    crowd=crowded slot=0
    while [ $slot -lt "$CHAOS_SLOTS" ]; do
      exec 8>> "$CHAOS_FOLDER/locks/slot-${CHAOS_WORKER%.*}-$slot"
      if flock -n 8; then crowd=fits; break; fi
      slot=$((slot + 1))
    done
  fi
fi
input=none
[ -f out.txt ] && input=$(sed -n 's/^made by //p' out.txt)
say start "$kind $company $crowd ${input:-spoiled}"

case $kind in
  flaky) [ "$DRAWBAR_TRY" -gt 1 ] && code=0 ;;
  making) echo "made by $DRAWBAR_ATTEMPT_ID" > out.txt ;;
  taking) [ "$input" = none ] && code=90 ;;
  forking) (trap '' TERM HUP; exec sleep 600) & ;;
  env) env > "$CHAOS_FOLDER/envs/$DRAWBAR_ATTEMPT_ID" ;;
esac
n=0
while [ $n -lt "$lines" ]; do
  echo "$DRAWBAR_ATTEMPT_ID line $n"
  n=$((n + 1))
done
[ "$seconds" = 0.00 ] || sleep "$seconds"
say end "$code $lines"
exit "$code"
