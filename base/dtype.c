#include "base/dtype.h"

#include <string.h>

const DtypeInfo dtype_info[DT_COUNT] = {
#define X(id, name, bytes, map, mma) {name, mma, #map, bytes},
    DTYPE_TABLE(X)
#undef X
};

const char *
dtype_name(Dtype d)
{
  return dtype_info[d].name;
}

int
dtype_bytes(Dtype d)
{
  return dtype_info[d].bytes;
}

int
dtype_find(const char *name)
{
  for (int i = 0; i < DT_COUNT; i++)
    if (!strcmp(dtype_info[i].name, name))
      return i;
  return -1;
}
