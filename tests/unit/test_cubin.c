/* Cubins of the run-time compiler: who makes them, where they are kept, which is loaded,
 * and that PTX is always there to fall back on. */
#include "tests/unit/get_kit.h"

#include "runtime/assembler.h"

static char warned[600]; /* the last message of level 1 */

static void
hear(void *user, int level, const char *message)
{
  (void)user;
  if (level == 1)
    snprintf(warned, sizeof warned, "%s", message);
}

/* The file of the one cubin: the entry without a spec. */
static void
cubin_file(char path[400])
{
  char command[400];
  snprintf(command, sizeof command, "grep -l attnc.cubin/1 %s/entries/*/*", dir);
  FILE *f = popen(command, "r");
  assert_non_null(fgets(path, 400, f));
  pclose(f);
  path[strcspn(path, "\n")] = 0;
}

/* ---- cubins ---- */

/* The i-th image that was loaded: "cubin", "ptx", or "" past the last. */
static const char *
image(int i)
{
  size_t n;
  const char *at = stub.stub_image_at(i, &n);
  return !at ? "" : !memcmp(at, "\177ELF", 4) ? "cubin" : "ptx";
}

static void
assert_registers_told(const attnc_plan *p, const char *spilled)
{
  json_t *j = json_loads(attnc_plan_json(p), 0, NULL);
  char *notes = json_dumps(json_object_get(j, "notes"), 0);
  assert_non_null(strstr(notes, spilled));
  free(notes);
  json_decref(j);
}

/* The first process assembles and loads a cubin, the second loads the same bytes and is
 * never given PTX; both tell what the assembler said. */
static void
test_the_second_process_loads_the_cubin(void **state)
{
  static const char log[] = "ptxas info: 8 bytes spill stores, 8 bytes spill loads";
  size_t n, m;
  (void)state;
  assembler = "driver";
  stub.stub_logs(log, "");
  attnc_context *c = context();
  attnc_plan *p = get(c);
  assert_told(p, "image", "cubin");
  assert_registers_told(p, log);
  attnc_stats s = stats_of(c);
  assert_int_equal(s.assembled, 1);
  assert_int_equal(s.cubin_hits, 0);
  assert_int_equal(s.stored, 2);
  assert_string_equal(image(0), "cubin");
  assert_string_equal(image(1), "");
  char *first = memcpy(malloc(4096), stub.stub_image_at(0, &n), 1);
  memcpy(first, stub.stub_image_at(0, &n), n);
  attnc_plan_release(p);
  attnc_context_release(c);
  stub.stub_reset();
  c = context();
  p = get(c);
  assert_told(p, "layer", "disk");
  assert_told(p, "image", "cubin");
  assert_registers_told(p, log);
  assert_string_equal(image(0), "cubin");
  assert_string_equal(image(1), "");
  assert_memory_equal(stub.stub_image_at(0, &m), first, n);
  assert_int_equal(m, n);
  assert_int_equal(stub.stub_calls("cuLinkCreate_v2"), 0);
  s = stats_of(c);
  assert_int_equal(s.cubin_hits, 1);
  assert_int_equal(s.assembled, 0);
  assert_int_equal(s.stored, 0);
  free(first);
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* What is in the key: another driver, another device. */
static void
test_a_cubin_is_of_one_driver_and_chip(void **state)
{
  static const struct {
    int cc, version;
    bool known;
  } cases[] = {{80, 13000, false}, {80, 12040, false}, {86, 13000, false},
               {80, 13000, true},  {86, 13000, true},  {80, 12040, true}};
  (void)state;
  assembler = "driver";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    stub.stub_reset();
    stub.stub_cc(0, cases[i].cc);
    stub.stub_version(cases[i].version);
    attnc_context *c = context_with(3, "sm_80");
    attnc_plan_release(get(c));
    assert_int_equal(stats_of(c).cubin_hits, cases[i].known);
    assert_int_equal(stats_of(c).assembled, !cases[i].known);
    attnc_context_release(c);
  }
}

static void
test_a_refused_cubin(void **state)
{
  (void)state;
  assembler = "driver";
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_context_release(c);
  stub.stub_reset();
  c = context();
  stub.stub_fail("cuModuleLoadDataEx", 1, CUDA_ERROR_NO_BINARY_FOR_GPU);
  warned[0] = 0;
  attnc_plan *p = get(c);
  assert_told(p, "image", "ptx");
  assert_registers_told(p, "CUDA_ERROR_NO_BINARY_FOR_GPU");
  assert_string_equal(image(0), "ptx");
  assert_non_null(strstr(warned, "the cubin by driver 13.0 is refused: cuModuleLoadDataEx: "
                                 "CUDA_ERROR_NO_BINARY_FOR_GPU"));
  assert_int_equal(stats_of(c).cubins_refused, 1);
  assert_int_equal(stats_of(c).load_errors, 0);
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* Each step of the driver's linker failing, and a driver that has none. */
static void
test_no_cubin_is_made(void **state)
{
  static const char *const calls[] = {"cuLinkCreate_v2", "cuLinkAddData_v2",
                                      "cuLinkComplete"};
  (void)state;
  assembler = "driver";
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    attnc_context *c = context();
    stub.stub_reset();
    stub.stub_fail(calls[i], 1, CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
    warned[0] = 0;
    attnc_plan *p = get(c);
    assert_told(p, "image", "ptx");
    assert_string_equal(image(0), "ptx");
    assert_non_null(strstr(warned, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND"));
    assert_int_equal(stats_of(c).assemble_errors, 1);
    assert_int_equal(stub.stub_calls("cuLinkCreate_v2"), 1);
    assert_int_equal(stub.stub_calls("cuLinkDestroy"), i > 0);
    attnc_plan_release(p);
    attnc_context_release(c);
  }
  assembler = "none";
  attnc_context *c = context();
  stub.stub_reset();
  attnc_plan *p = get(c);
  assert_told(p, "image", "ptx");
  assert_int_equal(stub.stub_calls("cuLinkCreate_v2"), 0);
  attnc_plan_release(p);
  attnc_context_release(c);
}

/* Whatever byte of a cubin's entry is damaged, the driver never sees it. */
static void
test_a_damaged_cubin_is_not_loaded(void **state)
{
  char path[400], whole[8192];
  size_t n;
  (void)state;
  assembler = "driver";
  attnc_context *c = context();
  attnc_plan_release(get(c));
  attnc_context_release(c);
  cubin_file(path);
  FILE *f = fopen(path, "r");
  size_t bytes = fread(whole, 1, sizeof whole, f);
  fclose(f);
  assert_in_range(bytes, 400, sizeof whole - 1);
  for (size_t i = 0; i < bytes; i += 13) {
    whole[i] ^= 16;
    f = fopen(path, "w");
    assert_int_equal(fwrite(whole, 1, bytes, f), bytes);
    fclose(f);
    whole[i] ^= 16;
    stub.stub_reset();
    c = context();
    attnc_plan_release(get(c));
    assert_int_equal(stats_of(c).corrupt, 1);
    assert_int_equal(stats_of(c).assembled, 1); /* anew, from the PTX */
    assert_string_equal(image(1), "");
    assert_memory_equal((const char *)stub.stub_image_at(0, &n) + 64, "cubin of ", 9);
    attnc_context_release(c);
  }
}

/* An edited kernel is given as it is. */
static void
test_no_cubin_of_edited_ptx(void **state)
{
  (void)state;
  char path[400];
  assembler = "driver";
  rt_write(dir, "edited.ptx", RT_PTX, strlen(RT_PTX));
  snprintf(path, sizeof path, "%s/edited.ptx", dir);
  setenv("ATTNC_LOAD_PTX", path, 1);
  attnc_context *c = context();
  attnc_plan *p = get(c);
  assert_told(p, "image", "ptx");
  attnc_plan_release(p);
  attnc_context_release(c);
}

static void
test_assembler_names(void **state)
{
  attnc_context *c = NULL;
  attnc_error e = {0};
  attnc_options o = {.size = sizeof o, .cache = 1, .assembler = "driver,gas"};
  (void)state;
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_USAGE);
  assert_string_equal(e.message, "attnc_options.assembler: 'gas' is not one of driver, "
                                 "nvjitlink, ptxas and none");
  o.assembler = NULL;
  setenv("ATTNC_ASSEMBLER", "ptxas,nvjitlink,driver,ptxas", 1);
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_ERR_USAGE);
  setenv("ATTNC_ASSEMBLER", "ptxas,nvjitlink,driver", 1);
  assert_int_equal(attnc_context_create(&o, &c, &e), ATTNC_OK);
  attnc_context_release(c);
  unsetenv("ATTNC_ASSEMBLER");
}

/* The toolkit's, where they are installed: real code, which says what it takes, and a
 * refusal with their words. */
static void
test_of_the_toolkit(void **state)
{
  static const Assembler *const those[] = {&assembler_nvjitlink, &assembler_ptxas};
  static const char bad[] =
      ".version 7.0\n.target sm_80\n.address_size 64\n"
      ".visible .entry f(.param .u64 p)\n{\nnonsense.u32 7;\nret;\n}\n";
  char id[ASSEMBLER_ID];
  int there = 0;
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    Assembly made = {0};
    attnc_error e = {0};
    if (!those[i]->identify(NULL, id))
      continue;
    there++;
    assert_int_equal(those[i]->run(NULL, RT_PTX, strlen(RT_PTX), "sm_86", &made, &e), 0);
    assert_memory_equal(made.cubin, "\177ELF", 4);
    assert_in_range(made.n, 500, 100000);
    assert_non_null(strstr(made.log, "registers"));
    free(made.cubin);
    free(made.log);
    made = (Assembly){0};
    assert_int_equal(those[i]->run(NULL, bad, strlen(bad), "sm_86", &made, &e),
                     ATTNC_ERR_COMPILE);
    if (!strstr(e.message, "nonsense"))
      fail_msg("%s: %s", id, e.message);
    assert_null(made.cubin);
  }
  if (!there)
    skip();
}

int
main(void)
{
  log_of_contexts = hear;
  const struct CMUnitTest tests[] = {
      GET_TEST(test_the_second_process_loads_the_cubin),
      GET_TEST(test_a_cubin_is_of_one_driver_and_chip),
      GET_TEST(test_a_refused_cubin),
      GET_TEST(test_no_cubin_is_made),
      GET_TEST(test_a_damaged_cubin_is_not_loaded),
      GET_TEST(test_no_cubin_of_edited_ptx),
      GET_TEST(test_assembler_names),
      GET_TEST(test_of_the_toolkit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
