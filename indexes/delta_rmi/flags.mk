LIBS_delta_rmi = -lurcu-bp
LIBS_test_delta_rmi = $(LIBS_delta_rmi)
KEY_BITS_delta_rmi := 64
