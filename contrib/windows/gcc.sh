#!/bin/sh
# Links a program for Windows. ld sorts the imported DLLs by the paths of the files that name them, so programs from two
# folders would differ: paths in this folder become relative, and stand before all others.
for word do
    shift
    case $word in "$PWD"/*) word=./${word#"$PWD"/} ;; esac
    set -- "$@" "$word"
done
exec x86_64-w64-mingw32-gcc "$@"
