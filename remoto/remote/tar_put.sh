# RUNS IN A CONTAINER WITHOUT PYTHON, in its /bin/sh: extracts a tar archive from stdin to a temporary directory, and moves it
# to the destination at the end; into an existing directory, it moves each entry, by the lines of the file merge.
# Arguments: the destination; the name in it if it is a directory; file, data or directory.
command -v tar > /dev/null || exit 69
unset TAR_OPTIONS
fail() { echo "$1: $2" >&2; exit 1; }
place=${1%/}
[ -n "$place" ] || place=/
case $place in /*) ;; *) place=./$place ;; esac
if [ "$3" = directory ]; then
  if [ -d "$place" ] && [ -n "$2" ]; then place=${place%/}/$2; fi
elif [ -d "$place" ]; then
  [ -n "$2" ] || fail "$1" "Is a directory"
  place=${place%/}/$2
else
  case $1 in */) if [ -e "$place" ]; then fail "$1" "Not a directory"; else fail "$1" "No such file or directory"; fi ;; esac
  # replace the target of a link, not the link; without -f, since BusyBox looks for a missing target in the wrong directory
  links=0
  while [ -L "$place" ] && [ "$links" -lt 40 ]; do
    target=$(readlink "$place" 2> /dev/null && echo x) || break
    target=${target%?x}
    case $target in /*) place=$target ;; *) place=${place%/*}/$target ;; esac
    links=$((links + 1))
  done
fi
replaceable() {
  [ -L "$1" ] || [ ! -e "$1" ] || [ -f "$1" ] || [ -d "$1" ] || fail "$1" "is a device, FIFO or socket: not replaced"
}
replaceable "$place"
above=${place%/*}/
if [ "$3" = directory ]; then mkdir -p "$above" || exit; fi
[ -d "$above" ] || fail "$above" "No such file or directory"
work=$above.remoto-$$
mkdir -m 700 "$work" || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$work" && tar -xpf -) || exit
content=$work/content
# keep the owner of the replaced file
keep() {
  if [ -L "$1" ] || [ -L "$2" ] || [ ! -f "$2" ]; then return; fi
  owner=$(stat -c %u:%g "$2" 2> /dev/null) || return 0
  [ "$owner" = "$(stat -c %u:%g "$1")" ] && return
  mode=$(stat -c %a "$1")
  chown "$owner" "$1" 2> /dev/null && chmod "$mode" "$1"
}
d() {
  replaceable "$place/$1"
  if [ -L "$place/$1" ] || [ -f "$place/$1" ]; then rm -f "$place/$1" || exit; fi
  [ -d "$place/$1" ] || mkdir "$place/$1" || exit
}
m() {
  replaceable "$place/$1"
  if [ -L "$place/$1" ]; then rm -f "$place/$1" || exit; fi
  if [ -d "$place/$1" ]; then rmdir "$place/$1" || exit; fi
  keep "$content/$1" "$place/$1"
  mv -f "$content/$1" "$place/$1" || exit
}
t() {
  if [ -n "$merging" ] && [ "$3" = . ]; then return; fi
  chmod "$1" "$place/$3" || exit
  TZ=UTC0 touch -t "$2" "$place/$3" 2> /dev/null || :
}
if [ "$3" != directory ]; then
  if [ -L "$place" ]; then rm -f "$place" || exit; fi
  [ ! -d "$place" ] || fail "$place" "Is a directory"
  if [ "$3" = data ]; then
    mode=$(stat -c %a "$place" 2> /dev/null) || mode=$(printf %o $((0666 & ~$(umask))))
    chmod "$mode" "$content" || exit
  fi
  keep "$content" "$place"
  mv -f "$content" "$place"
  exit
fi
merging=
if [ -d "$place" ]; then
  merging=yes
  . "$work/merge"
elif [ -e "$place" ]; then fail "$place" "Not a directory"
else mv "$content" "$place" || exit
fi
. "$work/directories"
