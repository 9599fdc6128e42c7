#include "runtime/cc_message.h"

#include "base/err.h"
#include "base/hash.h"
#include "schedule/schedule_json.h"

#include <string.h>

static const char magic[] = "attnc-cc";

/* ---- heads ---- */

static void
put64(unsigned char *p, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t
get64(const unsigned char *p)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v |= (uint64_t)p[i] << (8 * i);
  return v;
}

void
cc_head_put(unsigned char to[CC_HEAD], const CcHead *h)
{
  memcpy(to, magic, 8);
  put64(to + 8, h->json_n);
  put64(to + 16, h->bytes_n);
}

bool
cc_head_get(const unsigned char from[CC_HEAD], CcHead *h)
{
  h->json_n = get64(from + 8);
  h->bytes_n = get64(from + 16);
  return !memcmp(from, magic, 8) && h->json_n <= CC_JSON_MAX && h->bytes_n <= ENTRY_MAX;
}

/* ---- the request ---- */

static json_t *
sizes_json(const attnc_sizes *sizes)
{
  json_t *j = json_object();
  for (int i = 0; i < SIZE_COUNT; i++)
    json_object_set_new(j, size_names[i], json_integer(size_get(sizes, (SizeId)i)));
  return j;
}

/* By slot, as far as any are given. */
static json_t *
strides_json(const ProblemCopy *p)
{
  json_t *all = json_array();
  int n = CALL_SLOTS;
  while (n > 0 && !memcmp(p->tensors[n - 1].stride, (int64_t[CALL_STRIDES]){0},
                          sizeof p->tensors->stride))
    n--;
  for (int slot = 0; slot < n; slot++) {
    json_t *one = json_array();
    for (int i = 0; i < CALL_STRIDES; i++)
      json_array_append_new(one, json_integer(p->tensors[slot].stride[i]));
    json_array_append_new(all, one);
  }
  return all;
}

static json_t *
limits_json(const CcLimits *limits)
{
  json_t *j = json_object();
#define X(name, initial, least, what)                                                      \
  json_object_set_new(j, #name, json_integer((json_int_t)limits->name));
  CC_LIMIT_TABLE(X)
#undef X
  return j;
}

static json_t *
options_json(const attnc_compile_options *o, const char *ptx_version)
{
  const attnc_compile_options none = {.size = 0};
  if (!o)
    o = &none;
  return json_pack("{s:s?, s:s?, s:s?, s:s?}", "dump", o->dump, "from", o->from, "text",
                   o->text, "ptx_version", ptx_version);
}

attnc_status
cc_request(const JitRequest *a, const JitResolved *answer, const CcLimits *limits,
           json_t **out, attnc_error *e)
{
  const char *file;
  char key[65];
  size_t n;
  const char *text = jit_spec_text(a->spec, &n, &file);
  json_t *schedule = json_object(), *name = json_string(file);
  sha256_digest_hex(answer->key, key);
  sched_write_json(schedule, &answer->schedule);
  *out = json_pack(
      "{s:s, s:s, s:s, s:s, s:s%, s:o, s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "schema",
      CC_SCHEMA, "code_id", answer->fields.code_id, "key", key, "name",
      attnc_spec_name(a->spec), "spec", text, n, "file", name ? name : json_string("spec"),
      "op", a->problem->op, "target", answer->target, "schedule", schedule, "sizes",
      sizes_json(&a->problem->sizes), "strides", strides_json(a->problem), "options",
      options_json(a->compile, answer->fields.ptx_version), "limits", limits_json(limits));
  return *out ? ATTNC_OK
              : err_set(e, ATTNC_ERR_USAGE, "attnc-cc: a text of the request is not UTF-8");
}

/* ---- the greeting ---- */

json_t *
cc_hello(void)
{
  return json_pack("{s:{s:i, s:s, s:s}}", "hello", "attnc", attnc_version(), "code_id",
                   jit_code_id(), "llvm", jit_llvm_version());
}

attnc_status
cc_hello_check(const json_t *said, const char *program, attnc_error *e)
{
  const json_t *hello = json_object_get(said, "hello");
  const char *code = json_string_value(json_object_get(hello, "code_id"));
  const char *llvm = json_string_value(json_object_get(hello, "llvm"));
  if (!code || !llvm)
    return err_set(e, ATTNC_ERR_IO, "%s does not speak as attnc-cc does", program);
  if (strcmp(code, jit_code_id()) || strcmp(llvm, jit_llvm_version()) ||
      json_integer_value(json_object_get(hello, "attnc")) != attnc_version())
    return err_set(e, ATTNC_ERR_IO,
                   "%s is of another build: its code is %.12s with LLVM %.20s, this "
                   "library's %.12s with LLVM %s",
                   program, code, llvm, jit_code_id(), jit_llvm_version());
  return ATTNC_OK;
}
