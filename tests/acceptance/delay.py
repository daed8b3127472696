"""A wire that takes its time, for kernels without `netem`: carries real packets between TUN devices, each after the same delay.

Run as a process of its own, so that it does not wait for the test's threads:

    delay.py SECONDS ADDRESS=DESCRIPTOR...

A device has no offloads, so the packets are whole, with their checksums. They keep their order. Those to nobody known are dropped, as are
those that come when too many are under way, as a router does.
"""

import collections
import fcntl
import os
import select
import socket
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MOST_UNDER_WAY = 50_000


def device(name: str) -> int:
    """Makes a TUN device in the namespace of the calling thread; it lives as long as the descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def carry(delay: float, devices: dict):
    """Carries IPv4 packets between the devices, by destination, until the process ends."""
    under_way = collections.deque()
    poll = select.poll()
    for descriptor in devices.values():
        poll.register(descriptor, select.POLLIN)
    while True:
        left = under_way[0][0] - time.monotonic() if under_way else 1.0
        for descriptor, _ in poll.poll(max(0.0, left) * 1000):
            while True:
                try:
                    packet = os.read(descriptor, 65_536)
                except BlockingIOError:
                    break
                to = devices.get(packet[16:20])
                if to is not None and packet[0] >> 4 == 4 and len(under_way) < MOST_UNDER_WAY:
                    under_way.append((time.monotonic() + delay, to, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, to, packet = under_way.popleft()
            try:
                os.write(to, packet)
            except OSError:
                # The device is down or its queue is full: lost on the way.
                pass


if __name__ == "__main__":
    named = (argument.split("=") for argument in sys.argv[2:])
    carry(float(sys.argv[1]), {socket.inet_aton(address): int(descriptor) for address, descriptor in named})
