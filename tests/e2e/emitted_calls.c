/* emitted_calls: calls with more than q, k, v and o through C that `attnc compile --emit c`
 * writes and through a bundle, on the emulator: sequences with lengths of their own, rows
 * of a cache, words of bits.  The bundle's answer passes attnc_verify, what is the row of
 * no sequence is left alone, the emitted C gives the same bytes, and both refuse the same.
 *
 *   e2e_emitted_calls CC */
#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "emit/emit_c.h"
#include "harness/device.h"
#include "harness/seqlens.h"
#include "harness/tensors.h"

#include <attnc/attnc.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD "attnc: 1\nname: k\nhead_dim: 64\nreturn_lse: true\n"
static const struct {
  const char *what, *spec, *seqlens; /* NULL: b, sq and sk as below */
} rows[] = {
    {"packed", HEAD "dtype: bf16\ncausal: true\nseqlens: [cu_seqlens_q, cu_seqlens_k]\n",
     "33,0,70,1"},
    {"packed queries of a cache",
     HEAD "dtype: fp16\ncausal: true\nseqlens: [cu_seqlens_q, seqused_k, leftpad_k, "
          "cache_batch_idx]\n",
     "3/40,0/9,20/64"},
    {"lengths", HEAD "dtype: fp16\nseqlens: [seqused_q, seqused_k]\n", "33/90,70/1,0/0"},
    {"pages", HEAD "dtype: fp16\ncausal: true\npage_table: kv\nseqlens: [seqused_k]\n",
     "20/40,20/9,20/64"},
    {"bits", HEAD "dtype: fp16\nmask_bits: new\n", NULL},
    {"blocks", HEAD "dtype: bf16\ncausal: true\nblock_list: {block: [64, 64]}\n", NULL},
};
static const char *const targets[] = {"sm_80", "sm_90a"};
enum {
  ROWS = sizeof rows / sizeof *rows,
  TARGETS = 2,
  B = 2,
  H = 4,
  HK = 2,
  SQ = 40,
  SK = 90
};

static char dir[] = "/tmp/attnc-calls-XXXXXX";
typedef long long Strides[CALL_STRIDES];
typedef int (*Emitted)(const long long *, const CUdeviceptr *, const Strides *);

typedef struct Job {
  const char *target;
  Arena *arena;
  Device d;
  attnc_spec *spec;
  attnc_plan *plan;
  Tensors host;
  DeviceTensors device;
  Emitted emitted;
} Job;

static void
die(const char *what)
{
  fprintf(stderr, "e2e_emitted_calls: %s\n", what);
  exit(2);
}

static void
must(attnc_status s, const attnc_error *e)
{
  if (s != ATTNC_OK)
    die(e->message);
}

/* ---- files ---- */

static void
write_file(const char *name, const char *text)
{
  char path[256];
  attnc_error e = {0};
  snprintf(path, sizeof path, "%s/%s", dir, name);
  must(file_write_stream(path, text, strlen(text), &e), &e);
}

/* A caller of the emitted functions: fills the members of k_args that the call has. */
static void
put_caller(const CallInfo *call, Str *s)
{
  str_put(s, "#include \"k.h\"\n"
             "int call(const long long *size, const CUdeviceptr *data,\n"
             "         const long long (*stride)[5]);\n"
             "int call(const long long *size, const CUdeviceptr *data,\n"
             "         const long long (*stride)[5])\n{\n  k_kernel k;\n"
             "  k_args a = {.softmax_scale = k_softmax_scale};\n  size_t need = 0;\n"
             "  CUresult r = k_load(&k);\n  if (r)\n    return (int)r;\n");
  CallTensor tensors[CALL_SLOTS];
  for (int i = 0; i < call->n_slots; i++)
    tensors[i] = call->at[i].t;
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_is_had(tensors, call->n_slots, (SizeId)i))
      str_printf(s, "  a.%s = size[%d];\n", size_names[i], i);
  for (int i = 0; i < call->n_slots; i++) {
    const CallTensor *t = &call->at[i].t;
    if (t->name)
      str_printf(s, "  a.%s = data[%d];\n", t->name, i);
    for (int d = 0; t->name && !t->contiguous && d < CALL_STRIDES; d++)
      str_printf(s, "  a.%s_stride[%d] = stride[%d][%d];\n", t->name, d, i, d);
  }
  str_put(s,
          "  r = k_workspace(&k, &a, &need);\n  if (!r)\n    r = k_launch(&k, &a, 0);\n"
          "  if (!r)\n    r = cuCtxSynchronize();\n  k_unload(&k);\n  return (int)r;\n}\n");
}

static void
write_kernel(Job *j, const char *spec)
{
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  EmitC c;
  char name[64];
  if (attnc_spec_load(spec, strlen(spec), "k", &j->spec, NULL) != ATTNC_OK)
    die("a spec is refused");
  must(attnc_compile(j->spec, NULL, j->target, NULL, &k, &e), &e);
  emit_c_start(&c, j->arena, "k");
  must(emit_c_kernel(&c, attnc_kernel_json(k),
                     &(EmitImages){.ptx = attnc_kernel_ptx(k, NULL)}, &e),
       &e);
  Str source = str_new(j->arena), header = str_new(j->arena);
  emit_c_finish(&c, &source, &header);
  write_file("k.c", source.p);
  write_file("k.h", header.p);
  snprintf(name, sizeof name, "k.%s.ptx", j->target);
  write_file(name, attnc_kernel_ptx(k, NULL));
  snprintf(name, sizeof name, "k.%s.json", j->target);
  write_file(name, attnc_kernel_json(k));
  attnc_kernel_release(k);
}

static void
build(Job *j, const char *cc)
{
  static const char cuda_h[] = "#include \"abi/cuda.h\"\n"
                               "#define X(need, name, args) CUresult name args;\n"
                               "CUDA_ENTRY_TABLE(X)\n#undef X\n";
  char command[1024];
  Str caller = str_new(j->arena);
  put_caller(&j->host.call, &caller);
  write_file("caller.c", caller.p);
  write_file("cuda.h", cuda_h);
  snprintf(command, sizeof command,
           "cd %s && sha256sum k.*.json k.*.ptx > MANIFEST.sha256 && %s -std=c11 -Wall "
           "-Wextra -Wshadow -Werror %s -shared -fPIC -I. -I" SOURCE_DIR
           " k.c caller.c -o k.so",
           dir, cc, getenv("ATTNC_EMITTED_FLAGS") ? getenv("ATTNC_EMITTED_FLAGS") : "");
  if (system(command))
    die(command);
}

/* ---- a call ---- */

static void
make_tensors(Job *j, const char *seqlens)
{
  attnc_error e = {0};
  attnc_sizes z = {.size = sizeof z, .b = B, .h = H, .hk = HK, .sq = SQ, .sk = SK};
  CallInfo call;
  must(signature_read(j->spec, ATTNC_OP_FWD, j->arena, &call, &e), &e);
  if (seqlens) {
    must(seqlens_check(&call, seqlens, &e), &e);
    seqlens_shape(seqlens, &z);
    seqlens_sizes(&call, seqlens, &z);
  }
  must(tensors_new(&call, &z, &j->host, &e), &e);
  j->host.seqlens = seqlens;
  must(tensors_random(&j->host, 7, &e), &e);
}

static void
open_device(Job *j)
{
  attnc_error e = {0};
  attnc_bundle *bundle = NULL;
  char path[256];
  must(device_open_at(&j->d, BUILD_DIR "/lib/libattnc-emu.so", j->target, 0, &e), &e);
  setenv("ATTNC_LIBCUDA", j->d.path, 1);
  must(attnc_bundle_open(dir, &bundle, &e), &e);
  must(attnc_bundle_plan(bundle, "k", &j->plan, &e), &e);
  attnc_bundle_release(bundle);
  snprintf(path, sizeof path, "%s/k.so", dir);
  void *lib = dlopen(j->d.path, RTLD_NOW | RTLD_GLOBAL) ? dlopen(path, RTLD_NOW) : NULL;
  if (!lib)
    die(dlerror());
  *(void **)&j->emitted = dlsym(lib, "call");
  must(device_tensors_new(&j->d, &j->host, &j->device, &e), &e);
}

static bool
by_bundle(Job *j, const attnc_sizes *z, attnc_error *e)
{
  attnc_args args = device_tensors_args(&j->device, &j->host);
  args.sizes = z;
  return attnc_launch(j->plan, &args, NULL, NULL, e) == ATTNC_OK &&
         device_sync(&j->d, e) == ATTNC_OK;
}

static bool
by_emitted(Job *j, const attnc_sizes *z)
{
  attnc_args args = device_tensors_args(&j->device, &j->host);
  long long size[SIZE_COUNT];
  CUdeviceptr data[CALL_SLOTS];
  Strides stride[CALL_SLOTS];
  for (int i = 0; i < SIZE_COUNT; i++)
    size[i] = size_get(z, (SizeId)i);
  for (int i = 0; i < CALL_SLOTS; i++) {
    data[i] = (CUdeviceptr)(uintptr_t)args.tensors[i].data;
    for (int d = 0; d < CALL_STRIDES; d++)
      stride[i][d] = args.tensors[i].stride[d];
  }
  return j->emitted(size, data, (const Strides *)stride) == 0;
}

static bool
no_findings(const Job *j)
{
  char *found = device_findings(&j->d);
  if (found)
    printf("      %s\n", found);
  free(found);
  return !found;
}

/* The outputs of one way, poisoned before; NULL where it refuses or the emulator finds. */
static unsigned char *
outputs(Job *j, bool emitted, size_t *n)
{
  attnc_error e = {0};
  unsigned char *all = NULL;
  *n = 0;
  tensors_poison(&j->host);
  must(device_tensors_upload(&j->device, &j->host, &e), &e);
  bool ok = emitted ? by_emitted(j, &j->host.sizes) : by_bundle(j, &j->host.sizes, &e);
  if (!no_findings(j) || !ok) {
    printf("      %s: %s\n", emitted ? "emitted" : "bundle", e.message);
    return NULL;
  }
  must(device_tensors_download(&j->device, &j->host, &e), &e);
  for (int i = 0; i < CALL_SLOTS; i++) {
    const HostTensor *t = &j->host.host[i];
    if (!t->name || !(j->host.call.at[i].t.access & ACCESS_OUT))
      continue;
    all = realloc(all, *n + t->bytes + 1);
    if (!all)
      die("out of memory");
    memcpy(all + *n, t->data, t->bytes);
    *n += t->bytes;
  }
  return all;
}

static bool
right(Job *j)
{
  Verdict v = {0};
  attnc_error e = {0};
  bool ok = tensors_verify(&j->host, j->spec, &v, &e) == ATTNC_OK &&
            verdict_error(&v, &e) == ATTNC_OK &&
            (!j->host.seqlens || seqlens_unwritten(&j->host, &e) == ATTNC_OK);
  if (!ok)
    printf("      %s\n", e.message);
  return ok;
}

static bool
same(Job *j)
{
  size_t n, m;
  unsigned char *one = outputs(j, false, &n);
  bool ok = one && n && right(j);
  unsigned char *other = ok ? outputs(j, true, &m) : NULL;
  ok = ok && other && n == m && !memcmp(one, other, n);
  free(one);
  free(other);
  return ok;
}

/* ---- what both refuse ---- */

static bool
refused(Job *j, const attnc_sizes *z, const char *what)
{
  attnc_error e = {0};
  bool bundle = by_bundle(j, z, &e), emitted = by_emitted(j, z);
  if (bundle || emitted)
    printf("      %s: bundle %s, emitted %s\n", what, bundle ? "takes it" : e.message,
           emitted ? "takes it" : "refuses it");
  return !bundle && !emitted;
}

/* A size below 0; emitted C has no member for one that the call has not. */
static bool
sizes_refused(Job *j)
{
  attnc_error e = {0};
  bool ok = true;
  for (int i = 0; i < SIZE_COUNT; i++) {
    attnc_sizes z = j->host.sizes;
    if (!size_is_there(&z, (SizeId)i)) {
      size_set(&z, (SizeId)i, 1);
      ok = !by_bundle(j, &z, &e) && strstr(e.message, "must be 0") && ok;
      continue;
    }
    size_set(&z, (SizeId)i, -1);
    ok = refused(j, &z, size_names[i]) && ok;
  }
  return ok;
}

static bool
tensors_refused(Job *j)
{
  bool ok = true;
  for (int i = 0; i < CALL_SLOTS; i++) {
    CUdeviceptr kept = j->device.at[i];
    if (!j->host.host[i].name)
      continue;
    j->device.at[i] = 0;
    ok = refused(j, &j->host.sizes, j->host.host[i].name) && ok;
    j->device.at[i] = kept + 2;
    ok = refused(j, &j->host.sizes, j->host.host[i].name) && ok;
    j->device.at[i] = kept;
  }
  return ok;
}

static int
run_job(int row, const char *target, const char *cc)
{
  Job j = {.target = target, .arena = arena_new(0)};
  write_kernel(&j, rows[row].spec);
  make_tensors(&j, rows[row].seqlens);
  build(&j, cc);
  open_device(&j);
  bool ok = same(&j), sizes = sizes_refused(&j), tensors = tensors_refused(&j);
  printf("%s  %s %s: same %d, sizes refused %d, tensors refused %d\n",
         ok && sizes && tensors ? "ok  " : "FAIL", target, rows[row].what, ok, sizes,
         tensors);
  device_tensors_free(&j.device);
  tensors_free(&j.host);
  attnc_plan_release(j.plan);
  attnc_spec_release(j.spec);
  device_close(&j.d);
  arena_free(j.arena);
  fflush(stdout);
  return !(ok && sizes && tensors);
}

int
main(int argc, char **argv)
{
  int failed = 0, status;
  char command[64];
  if (!mkdtemp(dir))
    die("no directory in /tmp");
  snprintf(command, sizeof command, "rm -rf '%s'/*", dir);
  for (int i = 0; i < ROWS * TARGETS; i++) {
    fflush(NULL);
    pid_t pid = fork(); /* a device each */
    if (pid == 0)
      _exit(run_job(i / TARGETS, targets[i % TARGETS], argc > 1 ? argv[1] : "cc"));
    failed += pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
    if (system(command))
      die(command);
  }
  return rmdir(dir) != 0 || failed != 0;
}
