/* The host threads that help with launches: how many come, forks, an unloaded library. */
#include "tests/unit/emu_kit.h"

#include "emulator/exec/pool.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

/* Stays until so many are at work. */
typedef struct Meeting {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int here, most, expected;
} Meeting;

static void
meet(void *arg)
{
  Meeting *m = arg;
  pthread_mutex_lock(&m->lock);
  m->here++;
  m->most = m->here > m->most ? m->here : m->most;
  pthread_cond_broadcast(&m->changed);
  while (m->most < m->expected)
    pthread_cond_wait(&m->changed, &m->lock);
  m->here--;
  pthread_mutex_unlock(&m->lock);
}

static void
meet_of(int n)
{
  Meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, n};
  pool_run(n - 1, meet, &m);
  assert_int_equal(m.most, n);
  assert_int_equal(m.here, 0);
}

/* All that are wanted come, though others are wanted at the same time; nobody else. */
static void *
meet_often(void *arg)
{
  for (int i = 0; i < 50; i++)
    meet_of(1 + (i + *(int *)arg) % 6);
  return NULL;
}

static void
all_come(void **state)
{
  pthread_t thread[4];
  int number[4];
  (void)state;
  for (int i = 0; i < 4; i++) {
    number[i] = i;
    assert_int_equal(pthread_create(&thread[i], NULL, meet_often, &number[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    pthread_join(thread[i], NULL);
}

static void
add_one(void *arg)
{
  atomic_fetch_add((atomic_int *)arg, 1);
}

/* Work that is over before a helper comes is over. */
static void
none_come_late(void **state)
{
  (void)state;
  for (int i = 0; i < 2000; i++) {
    atomic_int n = 0;
    pool_run(5, add_one, &n);
    int calls = atomic_load(&n);
    assert_in_range(calls, 1, 6);
  }
}

/* ---- launches ---- */

static const char ptx[] =
    KIT("mov.u32 %r2, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.u32 %r6, %r2, %r4, %r1;\n"
        "mul.wide.u32 %rd3, %r6, 4; add.s64 %rd3, %rd1, %rd3; ld.global.u32 %r5, [%rd3];\n"
        "mad.lo.u32 %r5, %r5, 3, %r6; st.global.u32 [%rd3], %r5;\n");
enum { CTAS = 24, WORDS = 32 * CTAS };

static bool
launches_right(void)
{
  uint32_t all[WORDS];
  for (uint32_t i = 0; i < WORDS; i++)
    all[i] = i;
  OK(kit_run(ptx, CTAS, 32, 0, all, sizeof all));
  bool ok = true;
  for (uint32_t i = 0; i < WORDS; i++)
    ok = ok && all[i] == 4 * i;
  return ok;
}

static void
any_number(void **state)
{
  static const char *const settings[] = {"threads=1", "threads=7", "threads=2",
                                         "threads=64", "threads=0"};
  (void)state;
  for (int i = 0; i < 20; i++) {
    kit_set(settings[i % 5]);
    assert_true(launches_right());
  }
}

/* Another kernel, block, amount of shared memory: nothing is left of the one before. */
static void
one_after_another(void **state)
{
  static const char shares[] = KIT("ld.shared.u32 %r3, [s]; st.global.u32 [%rd2], %r3;\n");
  const char *with =
      replaced(shares, ".visible", ".extern .shared .align 16 .b8 s[];\n.visible");
  uint32_t out[64];
  (void)state;
  for (int i = 0; i < 4; i++) {
    OK(kit_run(with, 1, 32u << (i & 1), 64u << i, out, sizeof out));
    kit_found("error[uninitialised-shared]");
    assert_int_equal(out[31], 0xffffffff);
    assert_true(launches_right());
    kit_no_findings();
  }
}

/* ---- forks, and the end ---- */

static int
threads_now(void)
{
  int n = 0;
  DIR *d = opendir("/proc/self/task");
  while (readdir(d))
    n++;
  closedir(d);
  return n - 2;
}

/* With the library's end, which finds no helpers; a sanitizer would look for leaks of
 * threads that the child has not. */
static void
leave(int status)
{
#ifdef __SANITIZE_ADDRESS__
  _exit(status);
#else
  exit(status);
#endif
}

static void
children(void **state)
{
  (void)state;
  kit_set("threads=4");
  assert_true(launches_right());
  for (int i = 0; i < 5; i++) {
    pid_t pid = fork();
    if (!pid) {
      bool ok = threads_now() == 1;
      for (int j = 0; j < 3; j++)
        ok = ok && launches_right();
      leave(!ok);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(launches_right());
  }
  kit_set("threads=0");
}

typedef struct Library {
  void *handle;
  CUresult (*init)(unsigned), (*retain)(CUcontext *, CUdevice), (*current)(CUcontext);
  CUresult (*release)(CUdevice);
  CUresult (*load)(CUmodule *, const void *, unsigned, CUjit_option *, void **);
  CUresult (*get)(CUfunction *, CUmodule, const char *);
  CUresult (*alloc)(CUdeviceptr *, size_t);
  CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     unsigned, CUstream, void **, void **);
  int (*configure)(const char *, char *, size_t);
} Library;

static void
resolve(void *handle, const char *name, void *to, size_t n)
{
  void *p = dlsym(handle, name);
  assert_non_null(p);
  memcpy(to, &p, n);
}

static void
open_library(Library *l)
{
  l->handle = dlopen(EMULATOR, RTLD_NOW | RTLD_LOCAL);
  if (!l->handle)
    fail_msg("%s", dlerror());
#define X(entry, name) resolve(l->handle, name, &l->entry, sizeof l->entry);
  X(init, "cuInit")
  X(retain, "cuDevicePrimaryCtxRetain")
  X(release, "cuDevicePrimaryCtxRelease_v2")
  X(current, "cuCtxSetCurrent")
  X(load, "cuModuleLoadDataEx")
  X(get, "cuModuleGetFunction")
  X(alloc, "cuMemAlloc_v2")
  X(launch, "cuLaunchKernel")
  X(configure, "attncEmuConfigure")
#undef X
}

/* Helpers end with the library that they execute. */
static void
unloaded(void **state)
{
  int before = threads_now();
  (void)state;
  for (int i = 0; i < 5; i++) {
    Library l;
    CUcontext c;
    CUmodule m;
    CUfunction f;
    CUdeviceptr p;
    char why[100];
    open_library(&l);
    assert_int_equal(l.configure("threads=6", why, sizeof why), 0);
    OK(l.init(0));
    OK(l.retain(&c, 0));
    OK(l.current(c));
    OK(l.load(&m, ptx, 0, NULL, NULL));
    OK(l.get(&f, m, "k"));
    OK(l.alloc(&p, 4 * WORDS));
    OK(l.launch(f, CTAS, 1, 1, 32, 1, 1, 0, NULL, (void *[]){&p}, NULL));
    assert_true(threads_now() > before);
    OK(l.release(0));
    assert_int_equal(dlclose(l.handle), 0);
    assert_null(dlopen(EMULATOR, RTLD_NOW | RTLD_NOLOAD));
    assert_int_equal(threads_now(), before);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unloaded),          cmocka_unit_test(all_come),
      cmocka_unit_test(none_come_late),    cmocka_unit_test(any_number),
      cmocka_unit_test(one_after_another), cmocka_unit_test(children),
  };
  kit_start("arch=sm_80");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
