KEY_BITS_btree_olc := 64
