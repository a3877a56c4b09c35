"""What we use of msgpack, which has no types of its own."""

class UnpackException(Exception): ...

def packb(o: object, *, use_bin_type: bool) -> bytes: ...
def unpackb(
    packed: bytes,
    *,
    use_list: bool,
    raw: bool,
    strict_map_key: bool,
    max_map_len: int,
    max_ext_len: int,
    max_array_len: int,
    max_str_len: int,
    max_bin_len: int,
) -> object: ...
