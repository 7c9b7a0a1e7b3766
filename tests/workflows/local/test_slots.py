"""How many steps run at once, and which goes first."""

import threading
import time

from workflows.local.slots import Slots


def test_at_most_so_many_run_at_once_and_the_first_listed_goes_first() -> None:
    slots, running, most, order = Slots(2), [0], [0], []
    gate = threading.Event()

    def work(rank: int) -> None:
        gate.wait()
        time.sleep(0.02 * rank)  # they arrive in order, so that the queue is what decides
        with slots.one((rank,)):
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append(rank)
            time.sleep(0.15)
            running[0] -= 1

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(6)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert most[0] == 2 and order == sorted(order)
