"""Signed pushes of numbered frames, quick to make, so that the load does not eat the machine that it measures.

The number of a frame stands in its payload and in LrnInfos, by which it is found again in the database.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

CONNECTION = "soak"
AS_ID = "TWA_100000001.1.AS"
KEY = "17d107c7e4ae7ad8ea64ea25ee6a6b52"
CUSTOMER_ID = "100000001"
NUMBER_IN_QUERY = re.compile(r"LrnInfos=TWA_100000001\.1\.AS-\d+-(\d+)(?:&|$)")

_GATEWAY = (
    '{{"Lrrid":"FF01{0:04X}","Chain":0,"LrrRSSI":-1{0:02d}.000000,"LrrSNR":-{0}.250000,"LrrESP":-1{0:02d}.774582}}'
)

# An uplink as networks send it, of 1.4 kB with seven gateways.
_BODY = (
    '{"DevEUI_uplink":{"Time":"%(time)s","DevEUI":"%(dev_eui)s","FPort":2,"FCntUp":%(f_cnt_up)d,"LostUplinksAS":0,'
    '"ADRbit":1,"MType":2,"FCntDn":804,"payload_hex":"%(payload)s","mic_hex":"%(mic)s","Lrcid":"00000201",'
    '"LrrRSSI":-101.000000,"LrrSNR":-1.250000,"LrrESP":-101.774582,"SpFact":9,"SubBand":"G1","Channel":"LC3",'
    '"Lrrid":"FF010001","Late":0,"LrrLAT":52.106907,"LrrLON":5.778477,"Lrrs":{"Lrr":['
    + ",".join(_GATEWAY.format(number) for number in range(1, 8))
    + ']},"DevLrrCnt":7,"CustomerID":"100000001","CustomerData":{"loc":null,"alr":{"pro":"Static","ver":"1"},'
    '"tags":[],"doms":[],"name":"Soak %(dev_eui)s"},"ModelCfg":"0","InstantPER":0.000000,"MeanPER":0.019608,'
    '"DevAddr":"1556DC96","TxPower":14.000000,"NbTrans":1,"Frequency":867.1,"DynamicClass":"A"}}'
)


class Frames:
    """The frames of `devices` devices, which send by turns: frame n is counter n // devices of device n % devices."""

    def __init__(self, seed: int, devices: int, began: datetime) -> None:
        self._prefix = f"0059AC{seed % 65536:04X}"
        self._devices = devices
        self._began = began

    def identity(self, number: int) -> tuple[str, int, bytes]:
        """Give DevEUI, FCntUp and clear payload of a frame."""
        return (
            f"{self._prefix}{number % self._devices:06X}",
            number // self._devices,
            bytes.fromhex(f"{number:08x}{number * 2654435761 % 2**64:016x}"),
        )

    def request(self, number: int, delivery: int, sent_at: datetime) -> bytes:
        """Give the whole HTTP request of one delivery of a frame; another `delivery` is another signed text.

        The frame's own Time is the same in all of them, a millisecond after the frame before it.
        """
        dev_eui, f_cnt_up, payload = self.identity(number)
        time = (self._began + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
        body = (
            _BODY
            % {
                "time": time,
                "dev_eui": dev_eui,
                "f_cnt_up": f_cnt_up,
                "payload": payload.hex(),
                "mic": f"{number:08x}",
            }
        ).encode()
        at = sent_at.astimezone(UTC).isoformat(timespec="milliseconds")
        lrn = f"LrnDevEui={dev_eui}&LrnFPort=2&LrnInfos=TWA_100000001.1.AS-{delivery}-{number}"
        signed = f"{CUSTOMER_ID}{dev_eui}2{f_cnt_up}{payload.hex()}{lrn}&AS_ID={AS_ID}&Time={at}{KEY}"
        token = hashlib.sha256(signed.encode()).hexdigest()
        return (
            f"POST /push/{CONNECTION}?{lrn}&AS_ID={AS_ID}&Time={quote(at, safe='')}&Token={token} HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\nUser-Agent: ACTILITY-LRCLRN-DEVICE-AGENT/1.0\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
