/* Functions by name, as a CUDA runtime asks for them. */
#include "emulator/driver/device.h"

#include <string.h>

typedef struct Entry {
  int since; /* the version of CUDA that brought it */
  const char *name;
  void (*function)(void);
} Entry;

static const Entry entries[] = {
#define X(since, name, symbol) {since, #name, (void (*)(void))symbol},
    CUDA_SINCE_TABLE(X)
#undef X
#define X(since, name, symbol, args) {since, #name, (void (*)(void))symbol},
        CUDA_MORE_ENTRY_TABLE(X) CUDA_STREAM_ENTRY_TABLE(X) CUDA_GRAPH_ENTRY_TABLE(X)
#undef X
};

/* Of the entries of that name the latest that the version has. */
static const Entry *
find(const char *name, int version, CUdriverProcAddressQueryResult *status)
{
  const Entry *best = NULL;
  *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
    const Entry *e = &entries[i];
    if (strcmp(e->name, name))
      continue;
    if (e->since > version)
      *status = best ? *status : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    else if (!best || e->since > best->since)
      best = e;
  }
  if (best)
    *status = CU_GET_PROC_ADDRESS_SUCCESS;
  return best;
}

/* The default stream of a thread has no functions of its own here; those that are asked for
 * are then the others, as where a driver lacks one. */
CUresult
cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                    CUdriverProcAddressQueryResult *status)
{
  CUdriverProcAddressQueryResult found;
  const uint64_t known =
      CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  if (!name || !function || version > DRIVER_VERSION || flags & ~known || flags == known)
    return CUDA_ERROR_INVALID_VALUE;
  const Entry *e = find(name, version, &found);
  *function = NULL;
  if (e) /* through its bytes: C has no conversion between the two kinds of pointers */
    memcpy(function, &e->function, sizeof *function);
  if (status)
    *status = found;
  return CUDA_SUCCESS;
}

CUresult
cuGetProcAddress(const char *name, void **function, int version, uint64_t flags)
{
  CUdriverProcAddressQueryResult status;
  CUresult r = cuGetProcAddress_v2(name, function, version, flags, &status);
  return r || status == CU_GET_PROC_ADDRESS_SUCCESS ? r : CUDA_ERROR_NOT_FOUND;
}

/* Tables that NVIDIA's own libraries share with its driver, without a description.  There
 * are none here: one of them has the driver prove that it is NVIDIA's. */
CUresult
cuGetExportTable(const void **table, const CUuuid *id)
{
  if (!table || !id)
    return CUDA_ERROR_INVALID_VALUE;
  *table = NULL;
  return CUDA_ERROR_NOT_FOUND;
}
