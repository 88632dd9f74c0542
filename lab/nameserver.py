"""The lab's DNS server, UDP and TCP, as a separate process: `python -m lab.nameserver PORT [--broken]`."""

import argparse
import socketserver
import struct
import threading

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from lab.layout import HOST, PROVIDER_NAME

TTL_SECONDS = 1
broken = threading.Event()


def respond(wire: bytes) -> bytes | None:
    """The answer to a query: the provider's address, or NXDOMAIN."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    question = query.question[0]
    if question.name != dns.name.from_text(PROVIDER_NAME):
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif broken.is_set():
        response.set_rcode(dns.rcode.SERVFAIL)
    elif question.rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(question.name, TTL_SECONDS, "IN", "A", HOST))
    return response.to_wire()


class Datagram(socketserver.BaseRequestHandler):
    """UDP: one query in a packet."""

    def handle(self) -> None:
        """Send the answer to the client."""
        wire, connection = self.request
        answer = respond(wire)
        if answer is not None:
            connection.sendto(answer, self.client_address)


class Stream(socketserver.StreamRequestHandler):
    """TCP: each query is preceded by its length."""

    def handle(self) -> None:
        """Answer until the client disconnects."""
        while len(head := self.rfile.read(2)) == 2:
            answer = respond(self.rfile.read(struct.unpack("!H", head)[0]))
            if answer is None:
                return
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


class UdpServer(socketserver.ThreadingUDPServer):
    """Answers UDP queries in threads."""

    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    """Answers TCP queries in threads; the port can be reused immediately."""

    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    """Serve UDP and TCP until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--broken", action="store_true", help=f"answer SERVFAIL for {PROVIDER_NAME}")
    arguments = parser.parse_args()
    if arguments.broken:
        broken.set()
    stream = TcpServer((HOST, arguments.port), Stream)
    threading.Thread(target=stream.serve_forever, daemon=True).start()
    UdpServer((HOST, arguments.port), Datagram).serve_forever()


if __name__ == "__main__":
    main()
