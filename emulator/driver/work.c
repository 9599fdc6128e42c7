#include "emulator/driver/work.h"

#include "emulator/driver/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

void
turn_take(Device *d, const Past *ahead, const char *who, const Kernel *k, Turn *t)
{
  t->number = shadow_number();
  uint64_t epoch = t->number / SHADOW_LAUNCHES;
  t->any = past_late(ahead, t->number, &d->issued, &d->over, t->late);
  t->ahead = set_at(&ahead->all, epoch);
  set_add(&d->issued, t->number);
  Issued *name = &d->names[t->number % SHADOW_LAUNCHES];
  *name = (Issued){.number = t->number, .module = k ? k->ptx->id : 0, .kernel = k};
  snprintf(name->who, sizeof name->who, "%s", who);
}

static bool
is_loaded(const Device *d, const Issued *i)
{
  const struct CUmod_st *m = d->modules;
  while (m && m->ptx.id != i->module)
    m = m->next;
  return i->kernel && m;
}

void
turn_tell(const Device *d, uint64_t number, int insn, ShadowOther *other)
{
  const Issued *i = &d->names[number % SHADOW_LAUNCHES];
  if (i->number != number)
    return;
  snprintf(other->who, sizeof other->who, "%s%s", i->kernel ? "kernel " : "", i->who);
  if (insn >= 0 && is_loaded(d, i) && insn < i->kernel->n_code)
    other->line = i->kernel->code[insn].line;
}

void
turn_touch(Device *d, const Turn *t, uint64_t address, uint64_t n, bool writes)
{
  Alloc *a = dev_find(d, address, n);
  if (!a || !settings_get().checks)
    return;
  int insn;
  char where[24] = "", line[400];
  ShadowOther other = {"another launch", 0};
  ShadowSpan span = {t->number, address - a->base, n, writes};
  uint64_t number = shadow_mem_span(a->shadow, &span, t->any ? t->late : NULL, &insn);
  if (!number)
    return;
  turn_tell(d, number, insn, &other);
  if (other.line)
    snprintf(where, sizeof where, " at line %d", other.line);
  snprintf(line, sizeof line,
           "ptx:0: error[stream-order]: %s %s [0x%llx, +%llu), where %s has been%s: no "
           "stream, event, synchronisation or edge of a graph orders the two",
           t->number ? d->names[t->number % SHADOW_LAUNCHES].who : "the host",
           writes ? "writes" : "reads", (unsigned long long)address, (unsigned long long)n,
           other.who, where);
  report_line(line);
}

/* ---- work ---- */

static bool
copy_params(KernelWork *to, const KernelWork *from)
{
  size_t n = from->param_bytes;
  size_t room = (n + PARAM_ALIGN) / PARAM_ALIGN * PARAM_ALIGN;
  to->params = aligned_alloc(PARAM_ALIGN, room);
  if (!to->params)
    return false;
  memset(to->params, 0, room);
  memcpy(to->params, from->params, n);
  return true;
}

bool
work_copy(Device *d, Work *to, const Work *from)
{
  *to = *from;
  if (from->type == CU_GRAPH_NODE_TYPE_KERNEL)
    return copy_params(&to->kernel, &from->kernel);
  if (from->type == CU_GRAPH_NODE_TYPE_GRAPH)
    return (to->child = graph_clone(d, from->child)) != NULL;
  return true;
}

void
work_free(Device *d, Work *w)
{
  if (w->type == CU_GRAPH_NODE_TYPE_KERNEL)
    free(w->kernel.params);
  if (w->type == CU_GRAPH_NODE_TYPE_GRAPH && w->child)
    graph_free(d, w->child);
}

CUresult
work_check(Device *d, const Work *w)
{
  switch (w->type) {
  case CU_GRAPH_NODE_TYPE_KERNEL:
    return kernel_check(d, &w->kernel);
  case CU_GRAPH_NODE_TYPE_MEMCPY:
  case CU_GRAPH_NODE_TYPE_MEMSET:
    return transfer_check(d, w);
  case CU_GRAPH_NODE_TYPE_HOST:
    return w->host.fn ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
  case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    return event_is(d, w->event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  case CU_GRAPH_NODE_TYPE_GRAPH:
  case CU_GRAPH_NODE_TYPE_EMPTY:
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}

/* Nothing of the device: those behind it learn what is ahead of it. */
static Past
passed(const Past *ahead)
{
  return (Past){ahead->all, ahead->all, ahead->all};
}

static CUresult
run_event(Device *d, const Work *w, const Past *ahead, Past *done)
{
  CUresult r = work_check(d, w);
  if (r)
    return r;
  *done = passed(ahead);
  if (w->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD)
    w->event->past = *done;
  else
    past_join(done, &w->event->past, false);
  return CUDA_SUCCESS;
}

CUresult
work_run(Device *d, const Work *w, const Past *ahead, Past *done)
{
  switch (w->type) {
  case CU_GRAPH_NODE_TYPE_KERNEL:
    return kernel_run(d, &w->kernel, ahead, done);
  case CU_GRAPH_NODE_TYPE_MEMCPY:
  case CU_GRAPH_NODE_TYPE_MEMSET:
    return transfer_run(d, w, ahead, done);
  case CU_GRAPH_NODE_TYPE_GRAPH:
    return graph_run(d, w->child, ahead, done);
  case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
  case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
    return run_event(d, w, ahead, done);
  case CU_GRAPH_NODE_TYPE_HOST:
    dev_call_host(w->host.fn, w->host.userData);
    *done = passed(ahead);
    return CUDA_SUCCESS;
  case CU_GRAPH_NODE_TYPE_EMPTY:
    *done = passed(ahead);
    return CUDA_SUCCESS;
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}
