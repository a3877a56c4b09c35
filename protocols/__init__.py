"""Pure protocols: values, bytes and state machines. No I/O, no clock, no tensors."""
