KEY_BITS_art_dynamic := 64
