#include "camera_word.h"

#include <stddef.h>

#include "event.h"

static const struct camera_word adas[] = {
    [0x01] = {"前向碰撞", "forward collision"},
    [0x02] = {"车道偏离", "lane departure"},
    [0x03] = {"车距过近", "too close to the vehicle ahead"},
    [0x04] = {"行人碰撞", "pedestrian collision"},
    [0x05] = {"频繁变道", "frequent lane changes"},
    [0x06] = {"道路标识超限", "above the limit of a sign"},
    [0x07] = {"障碍物", "obstacle"},
    [0x10] = {"道路标志识别", "sign recognised"},
    [0x11] = {"主动抓拍", "snapshot"},
    [0x12] = {"实线变道", "lane change over a solid line"},
    [0x13] = {"车厢过道有人", "somebody in the aisle"},
};
static const struct camera_word dsm[] = {
    [0x01] = {"疲劳驾驶", "driver tired"},
    [0x02] = {"接打电话", "telephone at the ear"},
    [0x03] = {"抽烟", "smoking"},
    [0x04] = {"分神驾驶", "not looking ahead"},
    [0x05] = {"驾驶员异常", "driver not as expected"},
    [0x06] = {"摄像头遮挡", "lens covered"},
    [0x08] = {"超时驾驶", "driving for too long"},
    [0x0a] = {"未系安全带", "belt open"},
    [0x0b] = {"红外阻断型墨镜", "glasses that block infra-red"},
    [0x0c] = {"双手脱离方向盘", "both hands off the wheel"},
    [0x0d] = {"玩手机", "plays with a telephone"},
    [0x10] = {"自动抓拍", "snapshot"},
    [0x11] = {"驾驶员变更", "another driver"},
};
static const struct camera_word bsd[] = {
    [0x01] = {"后方接近", "vehicle close behind"},
    [0x02] = {"左侧后方接近", "vehicle close behind on the left"},
    [0x03] = {"右侧后方接近", "vehicle close behind on the right"},
};
static const struct { /* gravest first */
    uint8_t bit;
    struct camera_word word;
} tpms[] = {
    {1 << 2, {"胎压过低", "tyre pressure low"}},
    {1 << 6, {"慢漏气", "tyre leaking"}},
    {1 << 1, {"胎压过高", "tyre pressure high"}},
    {1 << 3, {"胎温过高", "tyre hot"}},
    {1 << 5, {"胎压不平衡", "tyre pressures uneven"}},
    {1 << 4, {"传感器异常", "tyre sensor fault"}},
    {1 << 7, {"传感器电量低", "tyre sensor's battery low"}},
    {1 << 0, {"胎压定时上报", "tyre report"}},
};

#define AT(table, i) ((i) < sizeof(table) / sizeof *(table) ? (table)[i] : (struct camera_word){NULL, NULL})

struct camera_word camera_word_of(uint8_t unit, uint8_t type)
{
    struct camera_word w = {NULL, NULL};
    switch (unit) {
    case EVENT_CAMERA_ADAS: w = AT(adas, type); break;
    case EVENT_CAMERA_DSM: w = AT(dsm, type); break;
    case EVENT_CAMERA_BSD: w = AT(bsd, type); break;
    case EVENT_CAMERA_TPMS:
        for (size_t i = 0; i < sizeof tpms / sizeof *tpms && w.zh == NULL; i++)
            if ((type & tpms[i].bit) != 0)
                w = tpms[i].word;
        break;
    default: break;
    }
    return w.zh != NULL ? w : (struct camera_word){"未知报警", "unknown alarm"};
}

struct camera_word camera_word_unit(uint8_t unit)
{
    static const struct camera_word unit_word[] = {
        {"高级驾驶辅助", "driver assistance"}, {"驾驶员状态监测", "driver monitoring"}, {"胎压监测", "tyre pressure"}, {"盲区监测", "blind spot"}};
    return unit >= EVENT_CAMERA_ADAS && unit <= EVENT_CAMERA_BSD ? unit_word[unit - EVENT_CAMERA_ADAS] : (struct camera_word){"摄像头", "camera"};
}
