LIBS_vqsort = -lhwy_contrib -lhwy
