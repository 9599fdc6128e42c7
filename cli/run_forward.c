#include "cli/run_forward.h"

#include "cli/safetensors.h"

#include "base/err.h"

#include <string.h>

bool
forward_writes(int slot)
{
  return slot == ATTNC_O || slot == ATTNC_LSE || slot == ATTNC_O_LO;
}

bool
forward_is_due(const CallInfo *call, const struct StFile *f)
{
  if (call->op != ATTNC_OP_BWD)
    return false;
  return !f || (!st_find(f, "o") && !st_find(f, "lse"));
}

static void
copy(Tensors *to, const Tensors *from, int slot)
{
  memcpy(to->host[slot].data, from->host[slot].data, from->host[slot].bytes);
}

/* Everything that the forward pass holds, released together. */
typedef struct Forward {
  LoadedSpec spec; /* the caller's, with the signature of op fwd */
  Tensors host;
  DeviceTensors device;
  attnc_plan *plan;
  Execution x;
} Forward;

static attnc_status
launch(const Device *d, Forward *f, attnc_error *e)
{
  TRY(device_tensors_new(d, &f->host, &f->device, e));
  TRY(device_tensors_upload(&f->device, &f->host, e));
  attnc_args args = device_tensors_args(&f->device, &f->host);
  TRY(execution_new(d, f->plan, &args, &f->x, e));
  TRY(execute(&f->x, e));
  return device_tensors_download(&f->device, &f->host, e);
}

static attnc_status
forward(const Cli *c, const Device *d, attnc_context *ctx, Forward *f, const Tensors *from,
        attnc_error *e)
{
  Asked asked;
  TRY(tensors_new(&f->spec.info.call, &from->sizes, &f->host, e));
  memcpy(f->host.scalars, from->scalars, sizeof f->host.scalars);
  for (int i = 0; i < f->spec.info.call.n_slots; i++)
    if (f->host.host[i].name && f->spec.info.call.at[i].t.access & ACCESS_IN)
      copy(&f->host, from, i);
  tensors_poison(&f->host);
  cli_problem(&f->spec, &from->sizes, &asked);
  cli_assume(c, &asked);
  TRY(attnc_plan_get(ctx, f->spec.spec, &asked.problem, &f->plan, e));
  return launch(d, f, e);
}

attnc_status
forward_ahead(const Cli *c, const Device *d, attnc_context *ctx, const LoadedSpec *s,
              Tensors *to, attnc_error *e)
{
  Forward f = {.spec = *s};
  if (!s->info.return_lse)
    return err_set(e, ATTNC_ERR_USAGE,
                   "op bwd without o and lse in its input: the forward pass writes the LSE "
                   "where the spec says return_lse: true");
  TRY(signature_read(s->spec, ATTNC_OP_FWD, c->arena, &f.spec.info.call, e));
  attnc_status st = forward(c, d, ctx, &f, to, e);
  if (st == ATTNC_OK) {
    for (int i = 0; i < CALL_SLOTS; i++)
      if (forward_writes(i) && to->host[i].name)
        copy(to, &f.host, i);
  }
  execution_free(&f.x);
  attnc_plan_release(f.plan);
  device_tensors_free(&f.device);
  tensors_free(&f.host);
  return st;
}
