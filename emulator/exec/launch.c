#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

bool
launch_fail(Launch *l, uint64_t place, CUresult r)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  bool first = place < atomic_load(&l->failed);
  if (first) {
    atomic_store(&l->failed, place);
    atomic_store(&l->result, (int)r);
  }
  pthread_mutex_unlock(&lock);
  return first;
}

bool
launch_cancel(Launch *l, uint64_t *cluster)
{
  uint64_t place = atomic_load(&l->next);
  do
    if (place >= l->clusters)
      return false;
  while (!atomic_compare_exchange_weak(&l->next, &place, place + 1));
  *cluster = order_cluster(l, place);
  return true;
}

const char *
launch_result_name(CUresult r)
{
  switch ((int)r) {
#define X(name, value)                                                                     \
  case value:                                                                              \
    return #name;
    CUDA_RESULT_TABLE(X)
#undef X
  default:
    return NULL;
  }
}
