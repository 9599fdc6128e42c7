#include "harness/tensors.h"

#include "base/err.h"

#include <string.h>

attnc_status
device_tensors_new(const Device *d, const Tensors *t, DeviceTensors *out, attnc_error *e)
{
  *out = (DeviceTensors){.device = d};
  for (int i = 0; i < CALL_SLOTS; i++) {
    if (!t->host[i].name)
      continue;
    attnc_status st = device_alloc(d, t->host[i].bytes, &out->at[i], e);
    if (st != ATTNC_OK) {
      device_tensors_free(out);
      return st;
    }
  }
  return ATTNC_OK;
}

void
device_tensors_free(DeviceTensors *t)
{
  for (int i = 0; i < CALL_SLOTS; i++)
    if (t->at[i])
      t->device->cuMemFree_v2(t->at[i]);
  *t = (DeviceTensors){0};
}

attnc_status
device_tensors_upload(const DeviceTensors *t, const Tensors *h, attnc_error *e)
{
  for (int i = 0; i < CALL_SLOTS; i++)
    if (h->host[i].bytes)
      TRY(device_result(
          t->device, "cuMemcpyHtoD_v2",
          t->device->cuMemcpyHtoD_v2(t->at[i], h->host[i].data, h->host[i].bytes), e));
  return ATTNC_OK;
}

attnc_status
device_tensors_download(const DeviceTensors *t, Tensors *h, attnc_error *e)
{
  for (int i = 0; i < CALL_SLOTS; i++)
    if (h->host[i].bytes && h->call.at[i].t.access & ACCESS_OUT)
      TRY(device_result(
          t->device, "cuMemcpyDtoH_v2",
          t->device->cuMemcpyDtoH_v2(h->host[i].data, t->at[i], h->host[i].bytes), e));
  return ATTNC_OK;
}

attnc_args
device_tensors_args(DeviceTensors *t, const Tensors *h)
{
  memcpy(t->view, h->view, sizeof t->view);
  for (int i = 0; i < CALL_SLOTS; i++)
    t->view[i].data = (void *)(uintptr_t)t->at[i];
  return (attnc_args){.size = sizeof(attnc_args),
                      .sizes = &h->sizes,
                      .tensors = t->view,
                      .tensor_size = sizeof *t->view,
                      .n_tensors = (uint32_t)h->call.n_slots,
                      .scalars = h->scalars,
                      .n_scalars = CALL_SCALARS};
}
