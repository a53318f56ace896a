# RUNS IN THE CONTAINER, in its /bin/sh, with nothing else: one command, whose end it reports on stdout and stderr.
# It comes by stdin, of which the command gets the rest. Arguments: extend or replace; NAME=VALUE ...; --; a word that only
# this shell writes; stdin or nothing; program or line; long or nothing; the working directory or nothing; the command.
# It sets variables in subshells alone: all names may be the command's.

remoto_end() { # WORD STDIN STATUS
  echo "$1 ended $3"
  echo "$1 ended $3" >&3
  # podman 4.3 loses output where nobody reads the rest of stdin
  if [ -n "$2" ]; then cat > /dev/null 2>&1; fi
  # the client would report any other status
  exit 0
}
remoto_fail() { # WORD STDIN WHAT ERRNO
  echo "$1 failed $3 $4" >&3
  remoto_end "$1" "$2" 127
}
remoto_unset_all() {
  # no env(1) is needed for this: export -p is a list of commands; what it takes for one inside a value is unset anyway
  set -f
  IFS='
'
  for line in $(export -p); do
    name=${line#export }
    name=${name#declare -x }
    name=${name%%=*}
    case $name in
      ''|[0-9]*|*[!A-Za-z0-9_]*) ;;
      *) echo "unset $name" ;;
    esac
  done
}
# as execvp(3) finds a program: 0, or 2 if there is none, 3 if it can't be executed
remoto_look_up() {
  if [ ! -e "$1" ]; then return 2; fi
  if [ -d "$1" ] || [ ! -x "$1" ]; then return 3; fi
}
remoto_search() {
  set -f
  IFS=:
  status=2
  for directory in $PATH; do
    remoto_look_up "${directory:-.}/$1"
    case $? in
      0) exit 0 ;;
      3) status=3 ;;
    esac
  done
  exit "$status"
}
# 1 is a builtin. A program comes first, as everywhere else: their echo and printf differ
remoto_find() {
  case $1 in */*) remoto_look_up "$1"; return ;; esac
  (remoto_search "$1") && return
  case $1 in
    # what a shell reserves is no command
    -*|'{'|'}'|'!'|'[['|if|then|elif|else|fi|case|esac|for|while|until|do|done|in|function|select|time|coproc|remoto_*) return 2 ;;
  esac
  if command -v "$1" > /dev/null 2>&1; then return 1; fi
  (remoto_search "$1")
}

# a signal for the process group is for the command; this shell stays to report its end
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
# what this shell writes itself, such as Killed, is not the command's
exec 3>&2 2> /dev/null

if [ "$1" = replace ]; then eval "$(remoto_unset_all)"; fi
shift
# first in a shell of its own: one that refuses to set a variable, such as bash UID, ends at once
if [ "$1" != -- ] && ! (while [ "$1" != -- ]; do export "$1" || exit; shift; done); then
  while [ "$1" != -- ]; do shift; done
  remoto_fail "$2" "$3" variable EPERM
fi
while [ "$1" != -- ]; do
  export "$1"
  shift
done
shift
# 1: the word; 2: stdin; 3: program or line; 4: long; 5: the working directory; 6 ...: the command
: "${PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
if [ -n "$5" ] && ! CDPATH= cd -- "$5" > /dev/null; then
  if [ ! -e "$5" ]; then remoto_fail "$1" "$2" cwd ENOENT; fi
  if [ ! -d "$5" ]; then remoto_fail "$1" "$2" cwd ENOTDIR; fi
  remoto_fail "$1" "$2" cwd EACCES
fi
if [ "$3" = program ]; then
  remoto_find "$6"
  case $? in
    1) (shift 5; "$@") 2>&3 3>&-; remoto_end "$1" "$2" "$?" ;;
    2) remoto_fail "$1" "$2" program ENOENT ;;
    3) remoto_fail "$1" "$2" program EACCES ;;
  esac
fi
# the kernel has limits for one argument and for all; a shell that fails by them may not say so
if [ -n "$4" ] && ! (shift 5; exec /bin/sh -c : remoto "$@"); then
  remoto_fail "$1" "$2" program E2BIG
fi
if [ "$3" = line ]; then
  (shift 5; exec /bin/sh -c -- "$@") 2>&3 3>&-
else
  # the trap of a shell that has become the program is gone; bash runs none either way
  (trap "echo $1 failed program \"\$?\" >&2" EXIT; shift 5; exec "$@") 2>&3 3>&-
fi
remoto_end "$1" "$2" "$?"
