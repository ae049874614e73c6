"""The pinned files of ``vdslib.sources.traces``: name, address at one commit, SHA-256."""

from dataclasses import dataclass

GITHUB = "https://raw.githubusercontent.com/"
BITBRAINS = GITHUB + "JessieRayeBauer/Time-Series-Forecasting-/0901a0da3024507c7732c782621e590077abca64/rnd/"
NAB = GITHUB + "numenta/NAB/ea702d75cc2258d9d7dd35ca8e5e2539d71f3140/"
DATACENTRES = GITHUB + "alejandrofdez-us/DataCenter-Traces-Datasets/003bb8e7ce9aaf4ed16ddf1652bc1a279c8ac2e6/"
WORLDCUP = GITHUB + "nimamahmoudi/worldcup98-dataset/82460213f0d5a86fa57b6d4b0b5f260e606e713b/"


@dataclass(frozen=True)
class Pin:
    """One file: where it is, and the SHA-256 of what is kept. Of a longer file only a part may be pinned: its header
    and ``rows`` lines from the one that begins with ``first``."""

    address: str
    sha256: str
    first: str = ""
    rows: int = 0


# complete files of virtual machines, by month and number
_BITBRAINS_FILES = {
    "2013-8/9.csv": "f9b0469762b3a402d21fbb532f02251b443b0f29c6e4cf78b094ea2dbf52519f",
    "2013-8/13.csv": "9d0dc3130928848f77a516900373f8bc209fedbfa5a3439c31ac4396bc39f7a9",
    "2013-8/16.csv": "837dbf7b75f88d0262c08e6e352308e7843d608b7d8ba630eefab2b9ba90853e",
    "2013-8/18.csv": "95fbce84a9205245854de94a3e3b59907d9dc547790fbee592102a11fa55a9f5",
    "2013-8/19.csv": "3d074a19c7d6a0f1eb8ad46bbf77ecc35d44d22f80a6ccb87096060b3d9db0cd",
    "2013-8/21.csv": "5d4f7a97d696285b009df81d8d470b7d21f288dc0bbe00bdfa18335ed52faf5b",
    "2013-8/25.csv": "7aa1742f7c2e8c15fdab2ad4bed487224cdfb6693e250b938d32daa03a8a4fc5",
    "2013-8/41.csv": "5a70f42f79a628b163c338737249fe257b901ef1fa51b5974447b85cefc4a238",
    "2013-8/44.csv": "a0ffb19fc697e03f2091dfac9b33739fe938d16f76e8f4c0f1ea7ff90794ad6b",
    "2013-8/85.csv": "e2ab0c38ce976b8d760ead099a22ece2cc1dfd8b7e3dcebed753c16544ad6102",
    "2013-8/100.csv": "3f87cb9e8f342a3bb243d319f8eccfa0bebf6cee4e00f8ec922d5a6452618a07",
    "2013-8/114.csv": "6600ca955ee188fa90cb60d4b09d9776f7012b35d3750472ea73fafbb19dc52d",
    "2013-8/116.csv": "9adf9d78f7480a63ccec477b33038cca089cfe299dba6dc5e3971bbdeb988fe3",
    "2013-8/123.csv": "e587753f533cfc4bfea330e0a947d7e3aeaa04cce237fd4fe2c716fcb70b52ad",
    "2013-8/187.csv": "1688a2ab815e99c019c11b80a5a1e625fcf4107bcb36b40dbd29880d4d8093fd",
    "2013-8/270.csv": "063b7688069ea90ad6eab5060b92d8ed681b1a0192ddb93e8be44a3e70650e2c",
    "2013-8/306.csv": "35b154098ad1623084c3bd1a6dcf33b0758fe594de7692689a11e4b5875f5920",
    "2013-8/332.csv": "4af336fdf419162a6b743af1769ad9e58f6200f270c17749aa10f84398d04b76",
    "2013-8/338.csv": "b6892bd2bd32c14cc5d346bb83d3b1eece4a9a643bdf81411e7368641dc97e38",
    "2013-8/386.csv": "0f37c02c1c52fa194558e17081ba06e804df79d0727dac86d2b05011d1a6d75c",
    "2013-8/407.csv": "ab521b707ddd443341e69035e2b7d8d44de011c45899aee0c0b2076b4c5f41ae",
    "2013-8/411.csv": "334d7f7ebab8b83a25e4f5e12473632d63b0b2613a3a69e0b93ed5615dbf30cd",
    "2013-8/427.csv": "b877952b0f9dbb72115788cdd06f3987080bc8cca1e789d812e4d9921e9ba62a",
}
# windows with faults: first timestamp, number of rows, SHA-256 of header and window
_BITBRAINS_WINDOWS = {
    "2013-7/400.csv": (
        "1373673606",
        1937,
        "3e76c42cb78d19e0b08b49b2e231d162aa120cec86245acebe5b977c20bb64ef",
    ),
    "2013-8/54.csv": ("1375661091", 1438, "f24fd4670136f8330c860a4176a4653060f7aa81add30fc381c59fd07144835e"),
    "2013-8/204.csv": (
        "1377216145",
        1724,
        "17626fc060a343c3d4aafd503a42636e0db9ac98b3ff909b31e5d0c128b61384",
    ),
    "2013-9/41.csv": ("1379721750", 1951, "66c3a822e43a8bef56cb655bf36f2a9bc17af82054b18b3f4f4c6feb29d308b5"),
}
_NAB_FILES = {
    "LICENSE.txt": "0a0b4d0b10cb1f7ed9ab2993ef93defc03447e6eba9daca1315dd32dae4877e3",
    "data/realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv": "01613e6f632d067f11a5dfd40a188b0789752b388d9bc77a398bd06333878a76",
    "data/realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv": "ab446fbd8b9f37507eb2fdb06315826d8daeef02e241133ce06e0ee571ba53d9",
    "data/realAWSCloudwatch/ec2_cpu_utilization_53ea38.csv": "8942e498de7b40f1b4a6d802755592c09b8fb73ce8f658763a09cb9ea1ea94ac",
    "data/realAWSCloudwatch/ec2_cpu_utilization_77c1ca.csv": "90ceabd570b449241ee24ff8a116a793979b7671ce4490707311bfea0e0aae1f",
    "data/realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv": "d768419037c9db269343822957314f57ee21a7d9a4d41df2add0d1ba45ba84de",
    "data/realAWSCloudwatch/ec2_cpu_utilization_ac20cd.csv": "749a15c2e1a4543c21fee9cbf3338cd8a7ed5f5f8a1308b9b099b06c2c66e66b",
    "data/realAWSCloudwatch/ec2_cpu_utilization_c6585a.csv": "d936cea74682ed43ac96b778352d7de294c0b0c168f4a7e6817162346cdb28c1",
    "data/realAWSCloudwatch/ec2_cpu_utilization_fe7f93.csv": "f3433f8171f4dcea86c0c7af9996d0f166f812fa0f4567f1d5cd85d2d2cd69b4",
    "data/realAWSCloudwatch/ec2_disk_write_bytes_1ef3de.csv": "ce3d6c6a652ed7c31a6dd3727a36e128fcac6fb2381c63267ad0fbc02eccd9df",
    "data/realAWSCloudwatch/ec2_disk_write_bytes_c0d644.csv": "a0e734a66098bb81833835f0839dadafbc8ae829c51494670ee8849e46eb5b63",
    "data/realAWSCloudwatch/ec2_network_in_5abac7.csv": "c27ef93f582af63bf42e80d804764cbe64ae987620f3cfab5477d6ebb3c6157e",
    "data/realAWSCloudwatch/ec2_network_in_257a54.csv": "39104b08f2e0a673b5137eb7681897fcadf0955fedf565740a6a94edc63a81a4",
    "data/realAWSCloudwatch/elb_request_count_8c0756.csv": "74c26574a01ca9fb89dddb5021e2e13c3a93eb25dc640438a9acb1ceb00f1021",
    "data/realAWSCloudwatch/grok_asg_anomaly.csv": "86a0abe9d58e376858d2fd4f4a438f1997e24c64a09e5af03accd4e1b372ac47",
    "data/realAWSCloudwatch/iio_us-east-1_i-a2eb1cd9_NetworkIn.csv": "f115fbe6542159eed5612445bfa620708a28ab6b41349d1432bb15c3a3b8414d",
    "data/realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv": "d5df979ef85928769a016cd0f935919d8c2a113926e21e1eb3a5001d688760e2",
    "data/realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv": "6b712b922ab3b3404c5a629d64a570c390c99471ee8b9b0ff7665f553fda92c1",
    "data/realKnownCause/cpu_utilization_asg_misconfiguration.csv": "58ba65dc0737cfbac11b51514476d50c438d44011232144bb8d93f392df58f9f",
    "data/realKnownCause/ec2_request_latency_system_failure.csv": "98378580aa80157e057c61d59d81daddccc6c65a2c0c800e3f01f603b8215c3f",
    "labels/combined_windows.json": "1e1fbc4601321aad8d0f8b3784c8134299379f68f6c1f7777565f8ffd57ab6b1",
}
_DATACENTRE_FILES = {
    "alibaba2018/machine_usage_days_1_to_8_grouped_300_seconds.csv": "3cbe34a882f31272cecdf9cdab27d2e91d964f9dd45c199f9f53e6d38379746a",
    "azure_v2/vm_cpu_readings_month_aggregated_cpu_mem.csv": "1ab1a1e4285bcfb5d1619f084d227872d30ae1f044c230b82af398cb60fd5067",
    "google2019/instance_usage_grouped_300_seconds_month.csv": "3f2a240bcbcc97fe74d3609381029c03aad97d4adf28b753d2b058cbd448d20d",
}
PINS = {
    **{f"bitbrains-rnd/{name}": Pin(BITBRAINS + name, sha) for name, sha in _BITBRAINS_FILES.items()},
    **{
        f"bitbrains-rnd-dirty/{name}": Pin(BITBRAINS + name, sha, first, rows)
        for name, (first, rows, sha) in _BITBRAINS_WINDOWS.items()
    },
    **{f"nab-aws/{name}": Pin(NAB + name, sha) for name, sha in _NAB_FILES.items()},
    **{f"datacenter-traces/{name}": Pin(DATACENTRES + name, sha) for name, sha in _DATACENTRE_FILES.items()},
    "worldcup98/invocation_count_0608_0621.csv": Pin(
        WORLDCUP + "invocation_count.csv",
        "8582d8e23e64666cf484f3540e4cecb3403bdd010c536c855d68a36553c3a2db",
        "1998-06-08 00:00:00",
        20160,
    ),
    # the notice that must travel along with the counts
    "worldcup98/WorldCup.html": Pin(
        WORLDCUP + "WorldCup.html", "afeb7721e45e77f70c1d6e223b0020752406b76cba700c4f76126fd824623336"
    ),
}
