# Expanded only when the plug-in is linked. --as-needed: the B-tree is made of headers, of the many
# libraries that pkg-config names it needs next to none.
LIBS_absl_btree = -Wl,--as-needed $(shell pkg-config --libs absl_btree)
