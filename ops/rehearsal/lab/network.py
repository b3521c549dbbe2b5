"""The lab's network: a namespace with a bridge, and one cable from the host into it; no route leads out."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from rehearsal.lab.commands import run
from rehearsal.lab.topology import (
    BRIDGE,
    CREDENTIALS_ADDRESS,
    HOST_ADDRESS,
    HOST_INTERFACE,
    NAMESPACE,
    SERVICES_ADDRESS,
    SUBNET,
)

BRIDGE_PORT = "host0"  # the namespace's end of the cable


def up() -> None:
    """Makes the namespace, its bridge and the cable; LabError names the step that failed."""
    prefix_length = ipaddress.ip_network(SUBNET).prefixlen
    run(["ip", "netns", "add", NAMESPACE])
    _inside(
        "sh",
        "-c",
        "echo 0 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6",
    )
    batch = f"""
        link set lo up
        link add {BRIDGE} type bridge
        address add {SERVICES_ADDRESS}/{prefix_length} dev {BRIDGE}
        address add {CREDENTIALS_ADDRESS}/32 dev {BRIDGE}
        link set {BRIDGE} up
    """
    run(["ip", "-netns", NAMESPACE, "-batch", "-"], stdin=batch)
    run(["ip", "link", "add", HOST_INTERFACE, "type", "veth", "peer", BRIDGE_PORT, "netns", NAMESPACE])
    run(["ip", "-netns", NAMESPACE, "link", "set", BRIDGE_PORT, "master", BRIDGE, "up"])
    # A host that forwards (as one with Docker does) must not do so for the machines.
    Path(f"/proc/sys/net/ipv4/conf/{HOST_INTERFACE}/forwarding").write_text("0")
    Path(f"/proc/sys/net/ipv6/conf/{HOST_INTERFACE}/disable_ipv6").write_text("1")
    run(["ip", "address", "add", f"{HOST_ADDRESS}/{prefix_length}", "dev", HOST_INTERFACE])
    run(["ip", "link", "set", HOST_INTERFACE, "up"])


def down() -> None:
    """Removes cable and namespace, whatever is left of them."""
    if Path(f"/sys/class/net/{HOST_INTERFACE}").exists():
        run(["ip", "link", "delete", HOST_INTERFACE])
    if Path(f"/run/netns/{NAMESPACE}").exists():
        run(["ip", "netns", "delete", NAMESPACE])


def remaining() -> list[str]:
    """Returns what still exists of the lab's network."""
    paths = (Path(f"/sys/class/net/{HOST_INTERFACE}"), Path(f"/run/netns/{NAMESPACE}"))
    return [str(path) for path in paths if path.exists()]


def foreign_user_of_subnet(addresses: str, routes: str) -> str | None:
    """Returns the host's interface that already uses the lab's addresses, the lab's own not counted.

    `addresses` and `routes` are the answers of `ip -json address` and `ip -json route`.
    """
    subnet = ipaddress.ip_network(SUBNET)
    used = [
        (interface["ifname"], f"{info['local']}/{info['prefixlen']}")
        for interface in json.loads(addresses)
        for info in interface.get("addr_info", [])
    ]
    used += [(route.get("dev", "?"), route["dst"]) for route in json.loads(routes) if route["dst"] != "default"]
    for interface, text in used:
        network = ipaddress.ip_network(text, strict=False)
        if network.version == subnet.version and interface != HOST_INTERFACE and network.overlaps(subnet):
            return str(interface)
    return None


def _inside(*argv: str) -> None:
    run(["nsenter", f"--net=/run/netns/{NAMESPACE}", "--", *argv])
