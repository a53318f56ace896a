# RUNS IN THE CONTAINER, with nothing but its /bin/sh: runs one command, and reports its exit status on stdout and stderr.
# The shell reads this script from stdin; the command reads the rest. Arguments: extend or replace; NAME=VALUE ...; --; a
# token for the reports; stdin or nothing; program or line; long or nothing; the working directory or nothing; the command.
# It sets variables only in subshells, since any name may be a variable of the command.

remoto_end() { # TOKEN STDIN STATUS
  echo "$1 ended $3"
  echo "$1 ended $3" >&3
  # podman 4.3 loses output if nothing reads the rest of stdin
  if [ -n "$2" ]; then cat > /dev/null 2>&1; fi
  # the client would print an error about any other status
  exit 0
}
remoto_fail() { # TOKEN STDIN WHAT ERRNO
  echo "$1 failed $3 $4" >&3
  remoto_end "$1" "$2" 127
}
remoto_unset_all() {
  # without env(1), which may be missing: export -p prints commands; lines of a value that look like one do no harm
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
# like execvp(3): return 0, or 2 if the program does not exist, 3 if it can't be executed
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
# return 1 for a builtin; prefer a program, as on a host, since their echo and printf differ
remoto_find() {
  case $1 in */*) remoto_look_up "$1"; return ;; esac
  (remoto_search "$1") && return
  case $1 in
    # options and reserved words are not commands
    -*|'{'|'}'|'!'|'[['|if|then|elif|else|fi|case|esac|for|while|until|do|done|in|function|select|time|coproc|remoto_*) return 2 ;;
  esac
  if command -v "$1" > /dev/null 2>&1; then return 1; fi
  (remoto_search "$1")
}

# a signal to the process group is for the command; this shell must report the exit status
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
# messages of this shell, such as Killed, are not the command's output
exec 3>&2 2> /dev/null

if [ "$1" = replace ]; then eval "$(remoto_unset_all)"; fi
shift
# try it in a subshell first: a shell that refuses a variable, as bash does UID, exits
if [ "$1" != -- ] && ! (while [ "$1" != -- ]; do export "$1" || exit; shift; done); then
  while [ "$1" != -- ]; do shift; done
  remoto_fail "$2" "$3" variable EPERM
fi
while [ "$1" != -- ]; do
  export "$1"
  shift
done
shift
# 1: the token; 2: stdin; 3: program or line; 4: long; 5: the working directory; 6 ...: the command
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
# the kernel limits each argument and all together; the shell may not report that
if [ -n "$4" ] && ! (shift 5; exec /bin/sh -c : remoto "$@"); then
  remoto_fail "$1" "$2" program E2BIG
fi
if [ "$3" = line ]; then
  (shift 5; exec /bin/sh -c -- "$@") 2>&3 3>&-
else
  # after a successful exec the trap no longer exists; bash runs it in neither case
  (trap "echo $1 failed program \"\$?\" >&2" EXIT; shift 5; exec "$@") 2>&3 3>&-
fi
remoto_end "$1" "$2" "$?"
