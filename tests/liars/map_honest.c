/* No fault at all: what the others are compared with. */
#include "map.h"

static const ldb_index table = {MAP_REST, .name = "map_honest", .apply = map_apply};
LDB_EXPORT_INDEX(table)
