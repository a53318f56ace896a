# RUNS IN A CONTAINER WITHOUT PYTHON, in its /bin/sh: writes a tar archive of a file or directory to stdout. Argument: its path.
command -v tar > /dev/null || exit 69
# it could enable sparse members, which are refused, or another format
unset TAR_OPTIONS
fail() { echo "$1: $2" >&2; exit 1; }
case $1 in /*) place=$1 ;; *) place=./$1 ;; esac
if [ -d "$place" ]; then cd "$place" || exit; exec tar -cf - .; fi
[ -e "${place%/}" ] || fail "$1" "No such file or directory"
case $1 in */) fail "$1" "Not a directory" ;; esac
[ -f "$place" ] || fail "$1" "not a regular file, directory or symbolic link"
cd "${place%/*}/" || exit
exec tar -chf - "./${place##*/}"
