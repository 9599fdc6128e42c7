/* cuGetProcAddress: every entry of the tables by its name and version. */
#include "tests/unit/emu_kit.h"

#include <dlfcn.h>

typedef struct Row {
  int since;
  const char *name, *symbol;
} Row;

static const Row rows[] = {
#define X(since, name, symbol) {since, #name, #symbol},
    CUDA_SINCE_TABLE(X)
#undef X
#define X(since, name, symbol, args) {since, #name, #symbol},
        CUDA_MORE_ENTRY_TABLE(X) CUDA_STREAM_ENTRY_TABLE(X) CUDA_GRAPH_ENTRY_TABLE(X)
#undef X
};
enum { N = sizeof rows / sizeof *rows };

static void *library;

/* The row that a version of a name is, NULL: none is old enough. */
static const Row *
due(const char *name, int version)
{
  const Row *best = NULL;
  for (int i = 0; i < N; i++)
    if (!strcmp(rows[i].name, name) && rows[i].since <= version &&
        (!best || rows[i].since > best->since))
      best = &rows[i];
  return best;
}

static void
check(const Row *row, int version)
{
  CUdriverProcAddressQueryResult status;
  void *p = &status;
  const Row *want = due(row->name, version);
  OK(cuGetProcAddress_v2(row->name, &p, version, 0, &status));
  assert_int_equal(status, want ? CU_GET_PROC_ADDRESS_SUCCESS
                                : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  if (p != (want ? dlsym(library, want->symbol) : NULL))
    fail_msg("%s at %d is not %s", row->name, version, want ? want->symbol : "missing");
  CUresult r = cuGetProcAddress(row->name, &p, version, 0);
  assert_int_equal(r, want ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND);
}

/* At the version that brought it, at the one before, at the newest; by symbol it is what
 * the dynamic linker finds. */
static void
every_entry(void **state)
{
  (void)state;
  for (int i = 0; i < N; i++) {
    assert_non_null(dlsym(library, rows[i].symbol));
    check(&rows[i], rows[i].since);
    check(&rows[i], rows[i].since - 1);
    check(&rows[i], 13000);
  }
}

/* The runtime's own table is there as well, each of its entries once. */
static void
runtime_table(void **state)
{
  (void)state;
#define X(need, name, args)                                                                \
  {                                                                                        \
    int n = 0;                                                                             \
    for (int i = 0; i < N; i++)                                                            \
      n += !strcmp(rows[i].symbol, #name);                                                 \
    if (n != 1)                                                                            \
      fail_msg("%d rows of " #name, n);                                                    \
  }
  CUDA_ENTRY_TABLE(X)
#undef X
}

static void
versions(void **state)
{
  static const struct {
    const char *name;
    int version;
    const char *symbol;
  } some[] = {{"cuMemAlloc", 3020, "cuMemAlloc_v2"},
              {"cuCtxCreate", 3020, "cuCtxCreate_v2"},
              {"cuCtxCreate", 12040, "cuCtxCreate_v3"},
              {"cuCtxCreate", 13000, "cuCtxCreate_v4"},
              {"cuGetProcAddress", 11030, "cuGetProcAddress"},
              {"cuGetProcAddress", 12000, "cuGetProcAddress_v2"},
              {"cuCtxSynchronize", 12080, "cuCtxSynchronize"},
              {"cuCtxSynchronize", 13000, "cuCtxSynchronize_v2"}};
  (void)state;
  for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
    void *p;
    OK(cuGetProcAddress_v2(some[i].name, &p, some[i].version,
                           CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, NULL));
    assert_ptr_equal(p, dlsym(library, some[i].symbol));
  }
}

static void
refused(void **state)
{
  CUdriverProcAddressQueryResult status;
  const void *table = &status;
  const CUuuid id = {{1}};
  void *p = &status;
  (void)state;
  OK(cuGetProcAddress_v2("cuMemAlloc_v2", &p, 13000, 0, &status)); /* a base name is due */
  assert_null(p);
  assert_int_equal(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  assert_int_equal(cuGetProcAddress("cuNothing", &p, 13000, 0), CUDA_ERROR_NOT_FOUND);
  assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 13010, 0, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 13000, 3, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGetProcAddress_v2("cuInit", &p, 13000, 4, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGetProcAddress_v2(NULL, &p, 13000, 0, NULL), CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGetProcAddress_v2("cuInit", NULL, 13000, 0, NULL),
                   CUDA_ERROR_INVALID_VALUE);
  assert_int_equal(cuGetExportTable(&table, &id), CUDA_ERROR_NOT_FOUND);
  assert_null(table);
  assert_int_equal(cuGetExportTable(NULL, &id), CUDA_ERROR_INVALID_VALUE);
}

/* A program that finds everything so, from the first function on. */
static void
bootstrap(void **state)
{
  CUresult (*get)(const char *, void **, int, uint64_t, CUdriverProcAddressQueryResult *);
  CUresult (*version)(int *);
  int v = 0;
  (void)state;
  OK(cuGetProcAddress_v2("cuGetProcAddress", (void **)&get, 12000, 0, NULL));
  OK(get("cuDriverGetVersion", (void **)&version, 13000, 0, NULL));
  OK(version(&v));
  assert_int_equal(v, 13000);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_entry), cmocka_unit_test(runtime_table),
      cmocka_unit_test(versions),    cmocka_unit_test(refused),
      cmocka_unit_test(bootstrap),
  };
  library = dlopen(NULL, RTLD_NOW);
  kit_start("arch=sm_90");
  return cmocka_run_group_tests(tests, NULL, NULL);
}
