# RUNS IN THE CONTAINER, in its /bin/sh, with nothing else: one command, its end reported on stdout and stderr.
# It comes by stdin, of which the command gets the rest. Arguments: a word that nobody else writes; program or line; extend
# or replace; the folder or nothing; stdin or nothing; NAME=VALUE ...; --; the command.
remoto_mark=$1 remoto_form=$2 remoto_env=$3 remoto_folder=$4 remoto_stdin=$5
shift 5
# a signal for the process group is for the command; this shell stays to tell of its end
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
# what this shell says itself, such as Killed, is not the command's
exec 3>&2 2> /dev/null
remoto_fail() {
  echo "$remoto_mark failed $1" >&3
  remoto_take_the_rest_of_stdin
  exit 127
}
remoto_take_the_rest_of_stdin() {
  # podman 4.3 loses output where nobody does
  if [ -n "$remoto_stdin" ]; then cat > /dev/null 2>&1; fi
}
remoto_ifs=$IFS
if [ "$remoto_env" = replace ]; then
  # no env(1) is needed for this: export -p is a list of commands; what it takes for one inside a value is unset anyway
  set -f
  IFS='
'
  for remoto_line in $(export -p); do
    remoto_name=${remoto_line#export }
    remoto_name=${remoto_name#declare -x }
    remoto_name=${remoto_name%%=*}
    case $remoto_name in
      ''|[0-9]*|*[!A-Za-z0-9_]*) ;;
      *) unset "$remoto_name" ;;
    esac
  done
  IFS=$remoto_ifs
  set +f
fi
# first in a shell of its own: one that refuses to set a variable, such as bash UID, ends at once
if [ "$1" != -- ] && ! (while [ "$1" != -- ]; do export "$1" || exit; shift; done); then
  remoto_fail variable
fi
while [ "$1" != -- ]; do
  export "$1"
  shift
done
shift
: "${PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
if [ -n "$remoto_folder" ] && ! CDPATH= cd -- "$remoto_folder" > /dev/null 2>&3; then
  remoto_fail folder
fi
if [ "$remoto_form" = line ]; then
  /bin/sh -c -- "$@" 2>&3 3>&-
else
  # a program before a builtin of that name, as everywhere else: their echo and printf differ
  remoto_kind=
  case $1 in
    */*) if [ -x "$1" ] && [ ! -d "$1" ]; then remoto_kind=program; fi ;;
    *)
      set -f
      IFS=:
      for remoto_path in $PATH; do
        if [ -x "${remoto_path:-.}/$1" ] && [ ! -d "${remoto_path:-.}/$1" ]; then
          remoto_kind=program
          break
        fi
      done
      IFS=$remoto_ifs
      set +f
      case $remoto_kind$1 in
        # a shell's own words, which are no commands
        program*|-*|'{'|'}'|'!'|'[['|if|then|elif|else|fi|case|esac|for|while|until|do|done|in|function|select|time|coproc|remoto_*) ;;
        *) if command -v "$1" > /dev/null 2>&1; then remoto_kind=builtin; fi ;;
      esac
      ;;
  esac
  case $remoto_kind in
    # the trap of a shell that has become the program is gone; bash runs none either way
    program) (trap 'echo "$remoto_mark failed program" >&2' EXIT; exec "$@") 2>&3 3>&- ;;
    builtin) ("$@") 2>&3 3>&- ;;
    *) remoto_fail program ;;
  esac
fi
remoto_status=$?
echo "$remoto_mark ended $remoto_status"
echo "$remoto_mark ended $remoto_status" >&3
remoto_take_the_rest_of_stdin
# the client would have something to say about any other status
exit 0
