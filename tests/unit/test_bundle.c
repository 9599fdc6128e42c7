#include "tests/unit/stub.h"

#include <sys/stat.h>

static char *dir;

static int
setup(void **state)
{
  (void)state;
  stub_find();
  stub.stub_reset();
  stub_use(0);
  setenv("ATTNC_LIBCUDA", STUB_LIBCUDA, 1);
  dir = rt_scratch();
  return 0;
}

static int
teardown(void **state)
{
  (void)state;
  rt_remove(dir);
  return stub.stub_modules() || stub.stub_primaries(0) || stub.stub_primaries(1);
}

/* ---- making bundles ---- */

static char manifest[4096];

static void
list(const char *name, const void *text, size_t n)
{
  char hex[65];
  size_t used = strlen(manifest);
  sha256_hex(text, n, hex);
  snprintf(manifest + used, sizeof manifest - used, "%s  %s\n", hex, name);
}

static void
add(const char *name, const char *text)
{
  rt_write(dir, name, text, strlen(text));
  list(name, text, strlen(text));
}

/* The pair of files, with the hash of the PTX in the recipe. */
static void
add_pair(const char *name, const char *target, const char *ptx, const char *recipe)
{
  char json[4096], file[128], hash[65];
  sha256_hex(ptx, strlen(ptx), hash);
  snprintf(json, sizeof json, "%s", recipe);
  char *at = strchr(json, '@');
  memmove(at + 64, at + 1, strlen(at));
  memcpy(at, hash, 64);
  snprintf(file, sizeof file, "%s.%s.ptx", name, target);
  add(file, ptx);
  snprintf(file, sizeof file, "%s.%s.json", name, target);
  add(file, json);
}

/* A kernel as `attnc compile` writes it: its PTX says the target, so that a test can see
 * which was loaded. */
static void
add_kernel(const char *name, const char *target, bool exact)
{
  char ptx[1024], json[4096];
  const char *recipe = RT_RECIPE_OF("%s", "%s", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0",
                                    RT_STEPS(RT_PARAMS, RT_GRID));
  snprintf(ptx, sizeof ptx, "%s// %s\n", RT_PTX, target);
  snprintf(json, sizeof json, recipe, target, exact ? "true" : "false");
  add_pair(name, target, ptx, json);
}

static void
finish(void)
{
  rt_write(dir, "MANIFEST.sha256", manifest, strlen(manifest));
  manifest[0] = 0;
}

/* The target that is chosen, or the reason; from one buffer. */
static const char *
chosen(const char *name, attnc_status want)
{
  static char text[600];
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  attnc_status status = attnc_bundle_open(dir, &b, &e);
  if (status == ATTNC_OK)
    status = attnc_bundle_plan(b, name, &p, &e);
  attnc_bundle_release(b); /* a plan does not need its bundle */
  if (status != want)
    fail_msg("%s: %s", attnc_status_name(status), e.message);
  snprintf(text, sizeof text, "%s", e.message);
  if (status == ATTNC_OK) {
    const char *at = strstr(attnc_plan_json(p), "\"target\": \"");
    sscanf(at + strlen("\"target\": \""), "%31[^\"]", text);
    assert_non_null(strstr(attnc_plan_json(p), "\"layer\": \"bundle\""));
  }
  attnc_plan_release(p);
  return text;
}

static void
test_the_best_kernel_is_chosen(void **state)
{
  (void)state;
  add_kernel("llama", "sm_80", false);
  add_kernel("llama", "sm_90", false);
  add_kernel("llama", "sm_90a", true);
  add_kernel("llama.x", "sm_86", false); /* another name, though it starts alike */
  finish();
  static const struct {
    int cc;
    const char *target;
  } cases[] = {{80, "sm_80"}, {89, "sm_80"}, {90, "sm_90a"}, {100, "sm_90"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    stub.stub_cc(0, cases[i].cc);
    assert_string_equal(chosen("llama", ATTNC_OK), cases[i].target);
  }
  stub.stub_cc(0, 80);
  assert_non_null(strstr(chosen("llama.x", ATTNC_ERR_UNSUPPORTED), "sm_86 and later"));
  assert_non_null(strstr(chosen("gpt", ATTNC_ERR_USAGE), "no kernel is named gpt"));
  assert_non_null(strstr(chosen("llama.sm_80", ATTNC_ERR_USAGE), "no kernel"));
}

/* Two specs that share a kernel, each with its own name and scale, in one bundle. */
static void
test_specs_that_share_a_kernel(void **state)
{
#define SHARED_KERNEL(name, scale)                                                         \
  "{\"schema\":\"attnc.kernel/3\",\"name\":\"" name                                        \
  "\",\"op\":\"fwd\",\"target\":\"sm_80\",\"exact\":false,\"ptx_version\":70,"             \
  "\"min_driver\":11000,\"ptx_sha256\":\"@\",\"mark\":\"" RT_MARK                          \
  "\",\"tensors\":" RT_TENSORS                                                             \
  ",\"scalars\":[{\"name\":\"softmax_scale\",\"slot\":0,\"default\":" scale                \
  ",\"positive\":true,\"constant\":false}],\"requires\":" RT_REQUIRES                      \
  ",\"workspace\":0,\"steps\":" RT_STEPS(RT_PARAMS, RT_GRID) "}"
  static const char *const names[] = {"one", "two", "one"};
  static const char *const says[] = {"\"default\": 0.5", "\"default\": 2.0",
                                     "\"default\": 0.5"};
  attnc_bundle *b = NULL;
  (void)state;
  add_pair("one", "sm_80", RT_PTX, SHARED_KERNEL("one", "0.5"));
  add_pair("two", "sm_80", RT_PTX, SHARED_KERNEL("two", "2.0"));
  finish();
  assert_int_equal(attnc_bundle_open(dir, &b, NULL), ATTNC_OK);
  for (int i = 0; i < 3; i++) {
    char name[32];
    attnc_plan *p = NULL;
    assert_int_equal(attnc_bundle_plan(b, names[i], &p, NULL), ATTNC_OK);
    snprintf(name, sizeof name, "\"name\": \"%s\"", names[i]);
    assert_non_null(strstr(attnc_plan_json(p), name));
    assert_non_null(strstr(attnc_plan_json(p), says[i]));
    attnc_plan_release(p);
  }
  attnc_bundle_release(b);
}

/* Nor does a bundle wait at a FIFO, whichever of its files it is. */
static void
test_fifos_in_a_bundle(void **state)
{
  static const char *const names[] = {"llama.sm_80.ptx", "llama.sm_80.json",
                                      "MANIFEST.sha256"};
  (void)state;
  alarm(30);
  for (int i = 0; i < 3; i++) {
    char path[300];
    add_kernel("llama", "sm_80", false);
    finish();
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_non_null(strstr(chosen("llama", ATTNC_ERR_IO), "not a regular file"));
    unlink(path);
  }
  alarm(0);
}

static void
test_launch_from_a_bundle(void **state)
{
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  static _Alignas(16) char memory[16];
  attnc_tensor t[5];
  (void)state;
  add_kernel("k", "sm_80", false);
  finish();
  stub_use(1);
  assert_int_equal(attnc_bundle_open(dir, &b, NULL), ATTNC_OK);
  assert_int_equal(attnc_bundle_plan(b, "k", &p, NULL), ATTNC_OK);
  assert_non_null(strstr(attnc_plan_json(p), "\"device\": \"Stub 1\""));
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){memory, {0, 0, 64, 1, 0}};
  attnc_args a = {
      .size = sizeof a,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = 1, .h = 1, .hk = 1, .sq = 1, .sk = 1},
      .tensors = t,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = 5};
  assert_int_equal(attnc_launch(p, &a, NULL, NULL, NULL), ATTNC_OK);
  assert_int_equal(stub.stub_launches(), 1);
  attnc_plan_release(p);
  attnc_bundle_release(b);
  attnc_bundle_release(NULL);
}

#define MAP_STEPS                                                                          \
  "[{\"launch\":{\"entry\":\"attnc_fwd\",\"params\":[{\"type\":\"map\",\"tensor\":0,"      \
  "\"dims\":[{\"n\":64},{\"size\":\"sq\",\"stride\":2},{\"size\":\"h\",\"stride\":1},"     \
  "{\"size\":\"b\",\"stride\":0}],\"box\":[64,128,1,1],\"swizzle\":128,\"l2\":256}],"      \
  "\"grid\":[{\"mul\":[{\"ceil_div\":[\"sq\",256]},2]},1,1],\"block\":[384,1,1],"          \
  "\"cluster\":[2,1,1],\"serialization\":true,\"shared\":65536}}]"

/* Tensor maps and clusters travel in a recipe like all else, and the device that has
 * neither takes the other kernel. */
static void
test_maps_and_clusters_from_a_bundle(void **state)
{
  static _Alignas(16) char memory[16];
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  attnc_tensor t[5];
  (void)state;
  add_kernel("k", "sm_80", false);
  add_pair(
      "k", "sm_90a", RT_PTX_OF(".param .align 64 .b8 map[128]"),
      RT_RECIPE_OF("sm_90a", "true", RT_TENSORS, RT_SCALARS, RT_REQUIRES, "0", MAP_STEPS));
  finish();
  assert_string_equal(chosen("k", ATTNC_OK), "sm_80");
  stub.stub_cc(0, 90);
  assert_int_equal(attnc_bundle_open(dir, &b, NULL), ATTNC_OK);
  assert_int_equal(attnc_bundle_plan(b, "k", &p, NULL), ATTNC_OK);
  attnc_bundle_release(b);
  for (int i = 0; i < 5; i++)
    t[i] = (attnc_tensor){memory, {300 * 256, 64, 256, 1, 0}};
  attnc_args a = {
      .size = sizeof a,
      .sizes =
          &(attnc_sizes){
              .size = sizeof(attnc_sizes), .b = 2, .h = 4, .hk = 2, .sq = 300, .sk = 300},
      .tensors = t,
      .tensor_size = sizeof(attnc_tensor),
      .n_tensors = 5};
  attnc_launch_state *s = aligned_alloc(64, attnc_plan_state_bytes(p));
  memset(s, 0, attnc_plan_state_bytes(p));
  for (int i = 0; i < 2; i++)
    assert_int_equal(attnc_launch(p, &a, NULL, s, NULL), ATTNC_OK);
  StubLaunch l = stub.stub_launch_at(1);
  assert_true(l.extended && l.serialized);
  assert_int_equal(l.cluster[0], 2);
  assert_int_equal(l.grid[0], 4);
  assert_int_equal(l.maps[0].rank, 4);
  assert_int_equal(l.maps[0].dims[1], 300);
  assert_int_equal(l.maps[0].strides[2], 300 * 512);
  assert_int_equal(stub.stub_calls("cuTensorMapEncodeTiled"), 1);
  free(s);
  attnc_plan_release(p);
}

static void
test_bundles_that_are_refused(void **state)
{
  attnc_bundle *b = NULL;
  attnc_plan *p = NULL;
  attnc_error e = {0};
  (void)state;
  assert_non_null(strstr(chosen("k", ATTNC_ERR_IO), "MANIFEST.sha256: No such file"));
  add_kernel("k", "sm_80", false);
  finish();
  assert_string_equal(chosen("k", ATTNC_OK), "sm_80");

  /* A file that is not what the manifest says: at opening, and after. */
  assert_int_equal(attnc_bundle_open(dir, &b, NULL), ATTNC_OK);
  rt_write(dir, "k.sm_80.ptx", "evil", 4);
  assert_int_equal(attnc_bundle_plan(b, "k", &p, &e), ATTNC_ERR_IO);
  assert_non_null(strstr(e.message, "k.sm_80.ptx: is not the file that MANIFEST"));
  attnc_bundle_release(b);
  assert_non_null(strstr(chosen("k", ATTNC_ERR_IO), "is not the file that"));

  /* Listed right, but not what the recipe was made with. */
  add_kernel("k", "sm_80", false);
  manifest[0] = 0;
  add("k.sm_80.ptx", "another");
  char json[4096];
  char path[300];
  snprintf(path, sizeof path, "%s/k.sm_80.json", dir);
  FILE *f = fopen(path, "r");
  size_t n = fread(json, 1, sizeof json, f);
  fclose(f);
  list("k.sm_80.json", json, n);
  finish();
  assert_non_null(strstr(chosen("k", ATTNC_ERR_IO), "is not the PTX that"));

  /* A recipe alone. */
  list("k.sm_80.json", json, n);
  finish();
  assert_non_null(strstr(chosen("k", ATTNC_ERR_IO), "but not its PTX"));
  assert_int_equal(attnc_bundle_open(NULL, &b, NULL), ATTNC_ERR_USAGE);
}

static void
test_manifests_that_are_refused(void **state)
{
#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  static const char *const bad[] = {
      "",
      "\n\n",
      "hello\n",
      HASH " k\n",
      HASH "  \n",
      HASH "  ../k\n",
      HASH "  /etc/passwd\n",
      HASH "  .hidden\n",
      "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855  k\n",
      HASH "  absent\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    rt_write(dir, "MANIFEST.sha256", bad[i], strlen(bad[i]));
    chosen("k", ATTNC_ERR_IO);
  }
  rt_write(dir, "empty", "", 0);
  static const char binary[] = HASH " *empty\n"; /* sha256sum --binary */
  rt_write(dir, "MANIFEST.sha256", binary, strlen(binary));
  assert_non_null(strstr(chosen("k", ATTNC_ERR_USAGE), "no kernel is named"));
}

/* What sha256sum writes is read, and what is read sha256sum accepts. */
static void
test_sha256sum_agrees(void **state)
{
  char command[600];
  (void)state;
  add_kernel("k", "sm_80", false);
  finish();
  snprintf(command, sizeof command, "cd %s && sha256sum -c --quiet MANIFEST.sha256", dir);
  assert_int_equal(system(command), 0);
  snprintf(command, sizeof command, "cd %s && sha256sum k.* > MANIFEST.sha256", dir);
  assert_int_equal(system(command), 0);
  assert_string_equal(chosen("k", ATTNC_OK), "sm_80");
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(test_specs_that_share_a_kernel),       TEST(test_fifos_in_a_bundle),
      TEST(test_the_best_kernel_is_chosen),       TEST(test_launch_from_a_bundle),
      TEST(test_maps_and_clusters_from_a_bundle), TEST(test_bundles_that_are_refused),
      TEST(test_manifests_that_are_refused),      TEST(test_sha256sum_agrees),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
