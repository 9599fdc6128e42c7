/* cmd_device.c: `attnc device dump`: the device that is here as JSON, for `attnc pack
 * create` on a machine that has none. */
#include "cli/cli.h"

#include "base/err.h"

int
cmd_device(Cli *c)
{
  Device d;
  attnc_error e;
  if (device_open(&d, c->opt.value[OPT_DEVICE], NULL, &e) != ATTNC_OK)
    return cli_error(c, &e);
  cli_json(json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:b}", "schema", "attnc.device/1",
                     "name", cli_text(d.name), "capability", d.cc, "multiprocessors", d.sms,
                     "driver", d.driver, "memory", (json_int_t)d.memory, "emulated",
                     d.emulated));
  device_close(&d);
  return 0;
}
