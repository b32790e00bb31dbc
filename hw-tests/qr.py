"""Reads QR codes as a phone does: by zbar, which knows nothing of what drew them."""

import ctypes

SCALE, MARGIN = 4, 4


def scanned(rows: list[str]) -> list[str]:
    """The texts of the codes in a picture, from left to right. `rows` are its modules: `#` is dark, all else is light."""
    columns = max(map(len, rows)) + 2 * MARGIN
    empty = [""] * MARGIN
    lines = [(" " * MARGIN + row).ljust(columns) for row in empty + rows + empty]
    pixels = b"".join(bytes(0 if cell == "#" else 255 for cell in line for _ in range(SCALE)) * SCALE for line in lines)

    zbar = ctypes.CDLL("libzbar.so.0")
    for name in "zbar_image_scanner_create", "zbar_image_create", "zbar_image_first_symbol", "zbar_symbol_next":
        getattr(zbar, name).restype = ctypes.c_void_p
    zbar.zbar_symbol_get_data.restype = ctypes.c_char_p
    scanner, image = (ctypes.c_void_p(create()) for create in (zbar.zbar_image_scanner_create, zbar.zbar_image_create))
    zbar.zbar_image_set_format(image, ctypes.c_ulong(int.from_bytes(b"Y800", "little")))
    zbar.zbar_image_set_size(image, columns * SCALE, len(lines) * SCALE)
    zbar.zbar_image_set_data(image, pixels, ctypes.c_ulong(len(pixels)), None)
    zbar.zbar_scan_image(scanner, image)
    found = []
    symbol = zbar.zbar_image_first_symbol(image)
    while symbol:
        at = ctypes.c_void_p(symbol)
        found.append((zbar.zbar_symbol_get_loc_x(at, 0), zbar.zbar_symbol_get_data(at).decode()))
        symbol = zbar.zbar_symbol_next(at)
    zbar.zbar_image_destroy(image)
    zbar.zbar_image_scanner_destroy(scanner)
    return [text for _, text in sorted(found)]
