/* What a device says of itself.  Limits are those of its compute capability (CUDA C++
 * Programming Guide, "Technical Specifications per Compute Capability"); what the emulator
 * does not do at all, exporting memory to others for one, is 0 whatever the chip. */
#include "emulator/driver/device.h"

#include <stdio.h>
#include <string.h>

/* An attribute that has the same value on every chip that is emulated. */
typedef struct Fixed {
  CUdevice_attribute attribute;
  int value;
} Fixed;

#define A(name, value)                                                                     \
  {                                                                                        \
    CU_DEVICE_ATTRIBUTE_##name, value                                                      \
  }
static const Fixed fixed[] = {
    A(MAX_THREADS_PER_BLOCK, 1024),
    A(MAX_BLOCK_DIM_X, 1024),
    A(MAX_BLOCK_DIM_Y, 1024),
    A(MAX_BLOCK_DIM_Z, 64),
    A(MAX_GRID_DIM_X, INT32_MAX),
    A(MAX_GRID_DIM_Y, 65535),
    A(MAX_GRID_DIM_Z, 65535),
    A(TOTAL_CONSTANT_MEMORY, 65536),
    A(WARP_SIZE, LANES),
    A(MAX_PITCH, INT32_MAX),
    A(CLOCK_RATE, 1000000), /* kHz; it has no clock */
    A(MEMORY_CLOCK_RATE, 1000000),
    A(TEXTURE_ALIGNMENT, 512),
    A(GPU_OVERLAP, 1),
    A(KERNEL_EXEC_TIMEOUT, 0),
    A(CAN_MAP_HOST_MEMORY, 1),
    A(COMPUTE_MODE, 0),
    A(MAXIMUM_TEXTURE1D_WIDTH, 131072),
    A(MAXIMUM_TEXTURE2D_WIDTH, 131072),
    A(MAXIMUM_TEXTURE2D_HEIGHT, 65536),
    A(MAXIMUM_TEXTURE3D_WIDTH, 16384),
    A(MAXIMUM_TEXTURE3D_HEIGHT, 16384),
    A(MAXIMUM_TEXTURE3D_DEPTH, 16384),
    A(MAXIMUM_TEXTURE2D_LAYERED_WIDTH, 32768),
    A(MAXIMUM_TEXTURE2D_LAYERED_HEIGHT, 32768),
    A(MAXIMUM_TEXTURE2D_LAYERED_LAYERS, 2048),
    A(SURFACE_ALIGNMENT, 512),
    A(CONCURRENT_KERNELS, 1),
    A(ECC_ENABLED, 0),
    A(PCI_DEVICE_ID, 0),
    A(TCC_DRIVER, 0),
    A(UNIFIED_ADDRESSING, 1),
    A(MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 32768),
    A(MAXIMUM_TEXTURE1D_LAYERED_LAYERS, 2048),
    A(CAN_TEX2D_GATHER, 1),
    A(MAXIMUM_TEXTURE2D_GATHER_WIDTH, 32768),
    A(MAXIMUM_TEXTURE2D_GATHER_HEIGHT, 32768),
    A(MAXIMUM_TEXTURE3D_WIDTH_ALTERNATE, 8192),
    A(MAXIMUM_TEXTURE3D_HEIGHT_ALTERNATE, 8192),
    A(MAXIMUM_TEXTURE3D_DEPTH_ALTERNATE, 32768),
    A(PCI_DOMAIN_ID, 0),
    A(TEXTURE_PITCH_ALIGNMENT, 32),
    A(MAXIMUM_TEXTURECUBEMAP_WIDTH, 32768),
    A(MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH, 32768),
    A(MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS, 2046),
    A(MAXIMUM_SURFACE1D_WIDTH, 32768),
    A(MAXIMUM_SURFACE2D_WIDTH, 131072),
    A(MAXIMUM_SURFACE2D_HEIGHT, 65536),
    A(MAXIMUM_SURFACE3D_WIDTH, 16384),
    A(MAXIMUM_SURFACE3D_HEIGHT, 16384),
    A(MAXIMUM_SURFACE3D_DEPTH, 16384),
    A(MAXIMUM_SURFACE1D_LAYERED_WIDTH, 32768),
    A(MAXIMUM_SURFACE1D_LAYERED_LAYERS, 2048),
    A(MAXIMUM_SURFACE2D_LAYERED_WIDTH, 32768),
    A(MAXIMUM_SURFACE2D_LAYERED_HEIGHT, 32768),
    A(MAXIMUM_SURFACE2D_LAYERED_LAYERS, 2048),
    A(MAXIMUM_SURFACECUBEMAP_WIDTH, 32768),
    A(MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH, 32768),
    A(MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS, 2046),
    A(MAXIMUM_TEXTURE1D_LINEAR_WIDTH, 1 << 28),
    A(MAXIMUM_TEXTURE2D_LINEAR_WIDTH, 131072),
    A(MAXIMUM_TEXTURE2D_LINEAR_HEIGHT, 65000),
    A(MAXIMUM_TEXTURE2D_LINEAR_PITCH, 2097120),
    A(MAXIMUM_TEXTURE2D_MIPMAPPED_WIDTH, 32768),
    A(MAXIMUM_TEXTURE2D_MIPMAPPED_HEIGHT, 32768),
    A(MAXIMUM_TEXTURE1D_MIPMAPPED_WIDTH, 32768),
    A(STREAM_PRIORITIES_SUPPORTED, 1),
    A(GLOBAL_L1_CACHE_SUPPORTED, 1),
    A(LOCAL_L1_CACHE_SUPPORTED, 1),
    A(MANAGED_MEMORY, 1),
    A(MULTI_GPU_BOARD, 0),
    A(HOST_NATIVE_ATOMIC_SUPPORTED, 0),
    A(PAGEABLE_MEMORY_ACCESS, 0),
    A(CONCURRENT_MANAGED_ACCESS, 1),
    A(COMPUTE_PREEMPTION_SUPPORTED, 1),
    A(CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM, 1),
    A(CAN_USE_STREAM_MEM_OPS_V1, 0),
    A(CAN_USE_64_BIT_STREAM_MEM_OPS_V1, 0),
    A(CAN_USE_STREAM_WAIT_VALUE_NOR_V1, 0),
    A(COOPERATIVE_LAUNCH, 1),
    A(COOPERATIVE_MULTI_DEVICE_LAUNCH, 0),
    A(CAN_FLUSH_REMOTE_WRITES, 0),
    A(HOST_REGISTER_SUPPORTED, 1),
    A(PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES, 0),
    A(DIRECT_MANAGED_MEM_ACCESS_FROM_HOST, 0),
    A(VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED, 0),
    A(HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 0),
    A(HANDLE_TYPE_WIN32_HANDLE_SUPPORTED, 0),
    A(HANDLE_TYPE_WIN32_KMT_HANDLE_SUPPORTED, 0),
    A(GENERIC_COMPRESSION_SUPPORTED, 0),
    A(GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED, 0),
    A(SPARSE_CUDA_ARRAY_SUPPORTED, 0),
    A(READ_ONLY_HOST_REGISTER_SUPPORTED, 0),
    A(TIMELINE_SEMAPHORE_INTEROP_SUPPORTED, 0),
    A(MEMORY_POOLS_SUPPORTED, 1),
    A(GPU_DIRECT_RDMA_SUPPORTED, 0),
    A(GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS, 0),
    A(GPU_DIRECT_RDMA_WRITES_ORDERING, 0),
    A(MEMPOOL_SUPPORTED_HANDLE_TYPES, 0),
    A(DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED, 0),
    A(CAN_USE_64_BIT_STREAM_MEM_OPS, 0),
    A(CAN_USE_STREAM_WAIT_VALUE_NOR, 0),
    A(DMA_BUF_SUPPORTED, 0),
    A(IPC_EVENT_SUPPORTED, 0),
    A(HANDLE_TYPE_FABRIC_SUPPORTED, 0),
    A(UNIFIED_FUNCTION_POINTERS, 0),
    A(NUMA_CONFIG, 0),
    A(NUMA_ID, -1),
    A(MULTICAST_SUPPORTED, 0),
    A(MPS_ENABLED, 0),
    A(HOST_NUMA_ID, -1),
    A(D3D12_CIG_SUPPORTED, 0),
    A(MEM_DECOMPRESS_ALGORITHM_MASK, 0),
    A(MEM_DECOMPRESS_MAXIMUM_LENGTH, 0),
    A(VULKAN_CIG_SUPPORTED, 0),
    A(GPU_PCI_DEVICE_ID, 0),
    A(GPU_PCI_SUBSYSTEM_ID, 0),
    A(HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0),
    A(HOST_NUMA_MEMORY_POOLS_SUPPORTED, 0),
    A(HOST_NUMA_MULTINODE_IPC_SUPPORTED, 0),
    A(HOST_MEMORY_POOLS_SUPPORTED, 0),
    A(HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0),
    A(HOST_ALLOC_DMA_BUF_SUPPORTED, 0),
    A(ONLY_PARTIAL_HOST_NATIVE_ATOMIC_SUPPORTED, 0),
};
#undef A

/* Of the boards that the chips stand for: bits of the memory bus, engines that copy,
 * whether memory is the host's. */
typedef struct Board {
  int cc, bus, engines, integrated;
} Board;
static const Board boards[] = {{75, 256, 3, 0},   {80, 5120, 3, 0},  {86, 384, 2, 0},
                               {87, 256, 2, 1},   {89, 384, 2, 0},   {90, 5120, 3, 0},
                               {100, 8192, 4, 0}, {103, 8192, 4, 0}, {110, 256, 2, 1},
                               {120, 512, 2, 0},  {121, 256, 2, 1}};

static const Board *
board(const Chip *c)
{
  const Board *b = boards;
  for (size_t i = 0; i < sizeof boards / sizeof *boards; i++)
    if (boards[i].cc <= c->cc)
      b = &boards[i];
  return b;
}

/* Products of f32 for one of f64 (the guide, "Throughput of Native Arithmetic
 * Instructions"): chips of data centres have half as many, others few. */
static int
double_ratio(const Chip *c)
{
  bool many = c->cc == 80 || c->cc == 90 || c->cc == 100;
  return many ? 2 : c->cc == 75 ? 32 : 64;
}

/* Those that differ between chips, or between devices; false: it is none of them. */
static bool
of_chip(const Device *d, CUdevice_attribute a, int *value)
{
  const Chip *c = d->chip;
  switch ((int)a) {
#define A(name, v)                                                                         \
  case CU_DEVICE_ATTRIBUTE_##name:                                                         \
    *value = v;                                                                            \
    return true;
    A(MAX_SHARED_MEMORY_PER_BLOCK, c->smem_block)
    A(MAX_REGISTERS_PER_BLOCK, c->regs_sm)
    A(MULTIPROCESSOR_COUNT, c->sms)
    A(PCI_BUS_ID, d->ordinal + 1)
    A(INTEGRATED, board(c)->integrated)
    A(GLOBAL_MEMORY_BUS_WIDTH, board(c)->bus)
    A(L2_CACHE_SIZE, c->l2_size)
    A(MAX_THREADS_PER_MULTIPROCESSOR, c->threads_sm)
    A(ASYNC_ENGINE_COUNT, board(c)->engines)
    A(COMPUTE_CAPABILITY_MAJOR, c->cc / 10)
    A(COMPUTE_CAPABILITY_MINOR, c->cc % 10)
    A(MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, c->smem_sm)
    A(MAX_REGISTERS_PER_MULTIPROCESSOR, c->regs_sm)
    A(RESERVED_SHARED_MEMORY_PER_BLOCK, chip_reserved(c))
    A(MULTI_GPU_BOARD_GROUP_ID, d->ordinal)
    A(SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO, double_ratio(c))
    A(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, c->smem_optin)
    A(MAX_BLOCKS_PER_MULTIPROCESSOR, c->blocks_sm)
    A(MAX_PERSISTING_L2_CACHE_SIZE, c->cc >= 80 ? c->l2_size / 4 * 3 : 0)
    A(MAX_ACCESS_POLICY_WINDOW_SIZE, c->cc >= 80 ? (128 << 20) - 4096 : 0)
    A(CLUSTER_LAUNCH, c->cc >= 90)
    A(MEM_SYNC_DOMAIN_COUNT, c->cc >= 90 ? 4 : 1)
    A(TENSOR_MAP_ACCESS_SUPPORTED, c->cc >= 90)
#undef A
  }
  return false;
}

CUresult
cuDeviceGetAttribute(int *value, CUdevice_attribute a, CUdevice device)
{
  Device *d;
  CUresult r = value ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r || of_chip(d, a, value))
    return r;
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    if (fixed[i].attribute == a) {
      *value = fixed[i].value;
      return CUDA_SUCCESS;
    }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuDeviceGetName(char *name, int n, CUdevice device)
{
  Device *d;
  CUresult r = name && n > 0 ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    snprintf(name, (size_t)n, "attnc emulated %s", d->chip->name);
  return r;
}

CUresult
cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
  Device *d;
  CUresult r = bytes ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *bytes = DEVICE_MEMORY;
  return r;
}

CUresult
cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
  Device *d;
  CUresult r = major && minor ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r) {
    *major = d->chip->cc / 10;
    *minor = d->chip->cc % 10;
  }
  return r;
}

/* ---- who it is ---- */

/* The same in every process: of a chip and an ordinal, and no real device's. */
CUresult
cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
  Device *d;
  CUresult r = uuid ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (r)
    return r;
  memset(uuid->bytes, 0, sizeof uuid->bytes);
  memcpy(uuid->bytes, "attnc emulated", 14);
  uuid->bytes[14] = (char)d->chip->cc;
  uuid->bytes[15] = (char)d->ordinal;
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
  return cuDeviceGetUuid_v2(uuid, device);
}

CUresult
cuDeviceGetPCIBusId(char *text, int n, CUdevice device)
{
  Device *d;
  CUresult r = text && n > 0 ? dev_need(device, &d) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    snprintf(text, (size_t)n, "0000:%02x:00.0", (unsigned)d->ordinal + 1);
  return r;
}

/* "domain:bus:device.function", "domain:bus:device" or "bus:device.function", hexadecimal.
 */
CUresult
cuDeviceGetByPCIBusId(CUdevice *device, const char *text)
{
  unsigned domain, bus, slot, function = 0;
  if (!device || !text)
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) < 3) {
    domain = 0;
    if (sscanf(text, "%x:%x.%x", &bus, &slot, &function) < 2)
      return CUDA_ERROR_INVALID_VALUE;
  }
  if (domain || slot || function || !bus || !dev_get((int)bus - 1))
    return CUDA_ERROR_INVALID_DEVICE;
  *device = (int)bus - 1;
  return CUDA_SUCCESS;
}

/* ---- its neighbours: kernels reach the memory of their own device alone ---- */

static CUresult
need_pair(CUdevice a, CUdevice b)
{
  Device *d;
  CUresult r = dev_need(a, &d);
  return r ? r : dev_need(b, &d);
}

CUresult
cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer)
{
  CUresult r = can ? need_pair(device, peer) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    *can = 0;
  return r;
}

CUresult
cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute a, CUdevice from, CUdevice to)
{
  if (!value || a < CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK ||
      a > CU_DEVICE_P2P_ATTRIBUTE_CUDA_ARRAY_ACCESS_SUPPORTED)
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = need_pair(from, to);
  if (!r && from == to)
    return CUDA_ERROR_INVALID_DEVICE;
  if (!r)
    *value = 0;
  return r;
}
