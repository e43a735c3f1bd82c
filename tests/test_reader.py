import threading
from concurrent.futures import ThreadPoolExecutor

from millirank.reader import LONG, SHORT, WARY, Reader


async def test_what_is_short_runs_where_it_is_asked_and_what_is_long_on_the_thread() -> None:
    with ThreadPoolExecutor(1) as executor:
        read = Reader(executor)
        assert await read(threading.get_ident) != threading.get_ident()  # until it is known to be short
        read.took(SHORT / 10)
        assert await read(threading.get_ident) == threading.get_ident()
        for _ in range(10):
            read.took(10 * SHORT)
        assert await read(threading.get_ident) != threading.get_ident()
        for _ in range(30):
            read.took(SHORT / 10)
        assert await read(threading.get_ident) == threading.get_ident()


async def test_after_a_read_that_blocked_the_loop_the_next_ones_do_not() -> None:
    with ThreadPoolExecutor(1) as executor:
        read = Reader(executor)
        for _ in range(100):
            read.took(SHORT / 10)
        assert await read(threading.get_ident) == threading.get_ident()
        read.took(2 * LONG * SHORT)
        for _ in range(WARY):
            assert await read(threading.get_ident) != threading.get_ident()
            read.took(SHORT / 10)
        assert await read(threading.get_ident) == threading.get_ident()
