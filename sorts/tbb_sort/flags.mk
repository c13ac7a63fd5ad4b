LIBS_tbb_sort = -ltbb
