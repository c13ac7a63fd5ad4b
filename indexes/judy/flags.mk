# The static library, because its calls of JudyMalloc and JudyFree must find ours (see judy.c).
# --exclude-libs hides all that comes from it: so nothing else in the process is mixed up with it,
# and its references to itself, which are not compiled for a shared object, can be bound here.
LIBS_judy = -l:libJudy.a -Wl,--exclude-libs,libJudy.a
KEY_BITS_judy := 64
