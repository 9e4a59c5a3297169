"""The uplink after a day without a network: tests/system/test_network_catchup.py says what the figures mean. bench_uplink.py [runs]; the median run by
catchup_x, and the worst alarm of all."""
import os
import sys

SOURCE = os.environ.get('SCHOOLWARD_SOURCE') or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, 'tests/system'))
from harness import Place  # noqa: E402
from test_network_catchup import measure  # noqa: E402

runs = []
for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
    with Place() as place:
        runs.append(measure(place))
runs.sort(key=lambda m: m['catchup_x'])
middle = runs[len(runs) // 2]
middle['alarm_ms_max'] = max(m['alarm_ms_max'] for m in runs)
for k, v in middle.items():
    print('%s=%s' % (k, v))
