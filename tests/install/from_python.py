# SPDX-License-Identifier: Apache-2.0
"""from_python.py LIBRARY URI: load libdmem.so late, as Python does, and go once round: create, attach, allocate, free."""
import ctypes
import sys


def main(library, uri):
    dmem = ctypes.CDLL(library)
    for name in ("dmem_version", "dmem_last_error", "dmem_strerror"):
        getattr(dmem, name).restype = ctypes.c_char_p
    dmem.dmem_alloc_ex.restype = ctypes.c_void_p
    dmem.dmem_alloc_ex.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    dmem.dmem_usable_size.restype = ctypes.c_size_t
    dmem.dmem_usable_size.argtypes = [ctypes.c_void_p]
    dmem.dmem_free.restype = None
    dmem.dmem_free.argtypes = [ctypes.c_void_p]
    dmem.dmem_pool_detach.argtypes = [ctypes.c_void_p]

    def expect(condition, what):
        if not condition:
            sys.exit(f"{what}: {dmem.dmem_last_error().decode()}")

    expect(dmem.dmem_version() == b"0.1.0", f"dmem_version() says {dmem.dmem_version()}")
    expect(dmem.dmem_pool_create(uri.encode(), None) == 0, "create")
    pool = ctypes.c_void_p()
    expect(dmem.dmem_pool_attach(uri.encode(), None, ctypes.byref(pool)) == 0, "attach")
    block = dmem.dmem_alloc_ex(pool, 1000, None)
    expect(block, "allocate")
    expect(dmem.dmem_usable_size(block) >= 1000, "usable size")
    ctypes.memset(block, 0x5A, 1000)
    expect(ctypes.string_at(block, 1000) == b"\x5a" * 1000, "contents")
    dmem.dmem_free(block)
    expect(dmem.dmem_usable_size(block) == 0, "a freed block is free")
    expect(dmem.dmem_pool_detach(pool) == 0, "detach")
    expect(dmem.dmem_pool_destroy(uri.encode()) == 0, "destroy")


if __name__ == "__main__":
    main(*sys.argv[1:])
