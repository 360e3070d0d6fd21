#!/bin/sh
# A task runner in POSIX shell and jq: docs/task-protocol.md in a hundred lines.
#
# A task names it as its runner, and a file with shell functions as its module:
#
#   task: {runner: [sh, shell-runner.sh], file: greet.sh, module: greet, function: greet, …}
#
# The function is called with the task's literal arguments and the results of other jobs, each as
# text. It can `ask NAME JSON` and find the answer in $answer, leave a `result JSON`, `skip REASON`,
# and whatever it prints goes to the log. It fails when it returns anything but 0.

exec 3>&1 4<&0 >&2 </dev/null # requests and replies are put aside; the rest is the log

number=0
answer=

# Ask the supervisor. $answer is what it answered; 1 when that is an error, which is printed.
ask() {
    number=$((number + 1))
    printf '%s' "${2:-{\}}" | jq -c --argjson id "$number" --arg ask "$1" '{$id, $ask} + .' >&3 ||
        return 1
    IFS= read -r reply <&4 || exit 1 # the supervisor hung up
    if printf '%s' "$reply" | jq -e 'has("error")' >/dev/null; then
        printf '%s' "$reply" | jq -r '"\(.error.code): \(.error.message)"'
        answer=
        return 1
    fi
    answer=$(printf '%s' "$reply" | jq -c .ok)
}

# Leave what others can use. $1 is JSON.
result() {
    ask set_xcom "$(printf '%s' "$1" | jq -c '{key: "return_value", value: .}')"
}

skip() {
    ask skip "$(jq -nc --arg reason "$1" '{$reason}')" && exit 0
}

fail() {
    ask fail "$(jq -nc --arg reason "$1" --argjson may_retry "${2:-true}" '{$reason, $may_retry}')"
    exit 1
}

of_start() {
    printf '%s' "$start" | jq -r "$1"
}

IFS= read -r start <&4 || exit 1
[ "$(of_start .protocol)" = 1 ] || fail "this runner speaks protocol 1 only" false

folder=$(of_start '.folder // "."')
file=$(of_start .task.file)
[ -r "$folder/$file" ] || fail "there is no file $file" false
. "$folder/$file"

set --
count=$(of_start '.task.args | length')
n=0
while [ "$n" -lt "$count" ]; do
    argument=$(of_start ".task.args[$n] | @json")
    case $(printf '%s' "$argument" | jq -r .kind) in
    literal) set -- "$@" "$(printf '%s' "$argument" | jq -r .value)" ;;
    result)
        ask get_xcom "$(printf '%s' "$argument" | jq -c '{job, key}')" || fail "no argument $n"
        set -- "$@" "$(printf '%s' "$answer" | jq -r .value)"
        ;;
    *) fail "this runner knows literal arguments and results only" false ;;
    esac
    n=$((n + 1))
done

function=$(of_start .task.function)
"$function" "$@" || fail "$function returned $?"
ask succeed
