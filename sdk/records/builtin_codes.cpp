#include "sdk/records/builtin_schema.hpp"

// Code lists of DOMAIN section 3, each with its source. Codes are never re-used: a test compares with the released ones.
// "(project)" marks what the project defined because no national list fits; "(unverified)" waits for a domain person.
namespace doorstep::builtin {

const std::string_view code_lists = R"json(
{"id": "CL-01", "source": "GB/T 26341-2010; 0 (project)", "codes": [
  ["1", "视力", "vision"], ["2", "听力", "hearing"], ["3", "言语", "speech"], ["4", "肢体", "physical"], ["5", "智力", "intellectual"],
  ["6", "精神", "mental"], ["7", "多重", "multiple"], ["0", "未评定", "not assessed"]]},
{"id": "CL-02", "source": "GB/T 26341-2010; 0 (project)", "codes": [
  ["1", "一级", "level 1, most severe"], ["2", "二级", "level 2, severe"], ["3", "三级", "level 3, moderate"],
  ["4", "四级", "level 4, mild"], ["0", "未定级", "not graded"]]},
{"id": "CL-03", "source": "common usage; 4, 7, 8 (project)", "codes": [
  ["1", "有效", "valid"], ["2", "即将到期", "expires within a year"], ["3", "到期", "expired"], ["4", "冻结", "frozen"],
  ["5", "注销", "cancelled"], ["6", "挂失", "reported lost"], ["7", "迁移中", "being transferred"], ["8", "评定中", "being assessed"],
  ["9", "未办", "none"]]},
{"id": "CL-05", "source": "GB/T 2261.1", "codes": [
  ["0", "未知", "unknown"], ["1", "男", "male"], ["2", "女", "female"], ["9", "未说明", "not stated"]]},
{"id": "CL-06", "source": "national home registration form; 6-9 (project)", "codes": [
  ["1", "父母", "parent"], ["2", "配偶", "spouse"], ["3", "兄弟姐妹", "sibling"], ["4", "祖父母", "grandparent"],
  ["5", "其他", "other"], ["6", "子女", "child"], ["7", "村/居委会", "village committee"], ["8", "民政部门", "civil affairs"],
  ["9", "机构", "institution"]]},
{"id": "CL-07", "source": "GB/T 4658", "codes": [
  ["10", "研究生", "postgraduate"], ["20", "本科", "bachelor"], ["30", "专科", "college"], ["40", "中等职业", "vocational"],
  ["50", "普通高中", "senior secondary"], ["60", "初中", "junior secondary"], ["70", "小学", "primary"],
  ["90", "其他/未上学", "other or none"]]},
{"id": "CL-08", "source": "GB/T 2261.2 (values unverified)", "codes": [
  ["10", "未婚", "single"], ["20", "已婚", "married"], ["30", "丧偶", "widowed"], ["40", "离婚", "divorced"],
  ["90", "未说明", "not stated"]]},
{"id": "CL-09", "source": "dynamic-update form", "codes": [
  ["1", "农业", "agricultural"], ["2", "非农业", "non-agricultural"]]},
{"id": "CL-10", "source": "GB/T 3304", "codes": [
  ["01", "汉族", "Han"], ["02", "蒙古族", "Mongol"], ["03", "回族", "Hui"], ["04", "藏族", "Zang"], ["05", "维吾尔族", "Uygur"],
  ["06", "苗族", "Miao"], ["07", "彝族", "Yi"], ["08", "壮族", "Zhuang"], ["09", "布依族", "Buyei"], ["10", "朝鲜族", "Chosen"],
  ["11", "满族", "Man"], ["12", "侗族", "Dong"], ["13", "瑶族", "Yao"], ["14", "白族", "Bai"], ["15", "土家族", "Tujia"],
  ["16", "哈尼族", "Hani"], ["17", "哈萨克族", "Kazak"], ["18", "傣族", "Dai"], ["19", "黎族", "Li"], ["20", "傈僳族", "Lisu"],
  ["21", "佤族", "Va"], ["22", "畲族", "She"], ["23", "高山族", "Gaoshan"], ["24", "拉祜族", "Lahu"], ["25", "水族", "Sui"],
  ["26", "东乡族", "Dongxiang"], ["27", "纳西族", "Naxi"], ["28", "景颇族", "Jingpo"], ["29", "柯尔克孜族", "Kirgiz"],
  ["30", "土族", "Tu"], ["31", "达斡尔族", "Daur"], ["32", "仫佬族", "Mulao"], ["33", "羌族", "Qiang"], ["34", "布朗族", "Blang"],
  ["35", "撒拉族", "Salar"], ["36", "毛南族", "Maonan"], ["37", "仡佬族", "Gelao"], ["38", "锡伯族", "Xibe"],
  ["39", "阿昌族", "Achang"], ["40", "普米族", "Pumi"], ["41", "塔吉克族", "Tajik"], ["42", "怒族", "Nu"],
  ["43", "乌孜别克族", "Uzbek"], ["44", "俄罗斯族", "Russ"], ["45", "鄂温克族", "Ewenki"], ["46", "德昂族", "Deang"],
  ["47", "保安族", "Bonan"], ["48", "裕固族", "Yugur"], ["49", "京族", "Gin"], ["50", "塔塔尔族", "Tatar"], ["51", "独龙族", "Derung"],
  ["52", "鄂伦春族", "Oroqen"], ["53", "赫哲族", "Hezhen"], ["54", "门巴族", "Monba"], ["55", "珞巴族", "Lhoba"],
  ["56", "基诺族", "Jino"], ["97", "其他", "other"], ["98", "外国血统", "foreign descent"]]},
{"id": "CL-11", "source": "dynamic-update question R27; 7-10 (project)", "codes": [
  ["1", "最低生活保障", "subsistence allowance"], ["2", "特困人员救助供养", "support for extreme hardship"],
  ["3", "医疗救助", "medical aid"], ["4", "其他救助", "other aid"], ["5", "农村危房改造", "rural house renovation"],
  ["6", "无", "none"], ["7", "低保边缘", "near subsistence"], ["8", "单人户纳入低保", "single-person allowance"],
  ["9", "临时救助", "temporary aid"], ["10", "孤儿/事实无人抚养", "orphan or de facto unsupported"]]},
{"id": "CL-11b", "source": "three kinds of household", "codes": [
  ["1", "脱贫不稳定户", "unstable after poverty"], ["2", "边缘易致贫户", "at the edge of poverty"],
  ["3", "突发严重困难户", "sudden hardship"], ["0", "否", "no"]]},
{"id": "CL-12", "source": "national subsidy rules; local ones (project)", "codes": [
  ["living", "困难残疾人生活补贴", "living subsidy"], ["nursing", "重度残疾人护理补贴", "nursing subsidy"],
  ["fuel", "机动轮椅车燃油补贴", "wheelchair fuel subsidy"], ["telecom", "信息消费支持", "telecom support"],
  ["assess", "残疾评定补贴", "assessment subsidy"], ["accident", "意外伤害保险", "accident insurance"],
  ["multi_household", "一户多残补助", "several disabled in one household"],
  ["smd_guardian", "严重精神障碍监护人以奖代补", "award for guardians"], ["utility", "水电气暖优惠", "utility discount"],
  ["other", "其他", "other"]]},
{"id": "CL-12s", "source": "project", "codes": [
  ["1", "在享", "receiving"], ["2", "应享未享", "entitled, not receiving"], ["3", "申请中", "applied for"], ["4", "停发", "stopped"],
  ["5", "不符合", "not entitled"]]},
{"id": "CL-12r", "source": "national subsidy rules", "codes": [
  ["1", "死亡或宣告死亡", "death"], ["2", "宣告失踪", "declared missing"], ["3", "户籍迁出", "moved away"],
  ["4", "材料弄虚作假", "false papers"], ["5", "未按期或未通过资格认定", "check not passed"], ["6", "本人自愿", "own wish"],
  ["9", "其他", "other"]]},
{"id": "CL-13", "source": "insurance kinds", "codes": [
  ["1", "城乡居民养老", "residents' pension"], ["2", "城乡居民医疗", "residents' medical"], ["3", "职工养老", "employees' pension"],
  ["4", "职工医疗", "employees' medical"], ["5", "失业", "unemployment"], ["6", "工伤", "work injury"], ["7", "意外伤害", "accident"],
  ["8", "长期护理", "long-term care"], ["9", "商业/惠民保", "commercial"]]},
{"id": "CL-13p", "source": "project", "codes": [
  ["1", "自缴", "own payment"], ["2", "政府代缴", "paid by government"], ["3", "资助部分", "partly aided"], ["4", "单位", "employer"]]},
{"id": "CL-12/13", "source": "CL-12 and CL-13 together; their codes differ", "includes": ["CL-12", "CL-13"]},
{"id": "CL-14", "source": "national follow-up list; 4, 5 (project)", "codes": [
  ["1", "入户", "at home"], ["2", "电话", "telephone"], ["3", "视频/微信", "video"], ["4", "村部或集中点见面", "at the village office"],
  ["5", "他人转述/邻里代看", "through neighbours"], ["9", "其他", "other"]]},
{"id": "CL-15", "source": "project; reasons as in the national mental-health form", "codes": [
  ["01", "见到本人", "met the person"], ["02", "见到监护人/照护者未见本人", "met the guardian or carer only"],
  ["03", "临时不在家", "not at home"], ["04", "拒访", "refused"], ["05", "外出务工/随亲属外出", "away for work or with relatives"],
  ["06", "住院", "in hospital"], ["07", "在托养/福利机构", "in an institution"], ["08", "已迁出", "moved away"], ["09", "死亡", "died"],
  ["10", "失联/走失", "out of contact or missing"], ["11", "地址有误/查无此人", "wrong address"],
  ["12", "未到达(道路/天气/疫情)", "could not get there"]]},
{"id": "CL-17", "source": "targeted rehabilitation system, home registration form; codes (project)", "codes": [
  ["1010101", "白内障复明手术", "cataract surgery"], ["1010102", "辅助器具适配及服务（盲）", "devices (blind)"],
  ["1010103", "定向行走及适应训练", "orientation and mobility"], ["1010104", "支持性服务（盲）", "support (blind)"],
  ["1010201", "辅助器具适配及服务（低视力）", "devices (low vision)"], ["1010202", "视功能训练", "visual training"],
  ["1020101", "人工耳蜗植入手术", "cochlear implant"], ["1020102", "辅助器具适配及服务（听力0–6岁）", "devices (hearing, 0-6)"],
  ["1020103", "听觉言语功能训练", "hearing and speech training"], ["1020104", "支持性服务（听力0–6岁）", "support (hearing, 0-6)"],
  ["1020201", "辅助器具适配及适应训练（听力7–17岁）", "devices (hearing, 7-17)"],
  ["1020202", "支持性服务（听力7–17岁）", "support (hearing, 7-17)"],
  ["1020301", "辅助器具适配及适应训练（听力成人）", "devices (hearing, adult)"], ["1040101", "矫治手术", "corrective surgery"],
  ["1040102", "运动及适应训练", "movement training"], ["1040103", "辅助器具适配及服务（肢体0–6岁）", "devices (physical, 0-6)"],
  ["1040104", "支持性服务（肢体0–6岁）", "support (physical, 0-6)"], ["1040201", "康复治疗及训练", "rehabilitation therapy"],
  ["1040202", "辅助器具适配及服务（肢体7岁以上）", "devices (physical, 7 and over)"],
  ["1040203", "支持性服务（肢体7岁以上）", "support (physical, 7 and over)"],
  ["1050101", "认知及适应训练（智力0–6岁）", "cognitive training (0-6)"],
  ["1050102", "支持性服务（智力0–6岁）", "support (intellectual, 0-6)"],
  ["1050201", "认知及适应训练（智力7岁以上）", "cognitive training (7 and over)"],
  ["1050202", "支持性服务（智力7岁以上）", "support (intellectual, 7 and over)"],
  ["1060101", "沟通及适应训练（孤独症0–6岁）", "communication training (autism, 0-6)"],
  ["1060102", "支持性服务（孤独症0–6岁）", "support (autism, 0-6)"],
  ["1060201", "沟通及适应训练（孤独症7–17岁）", "communication training (autism, 7-17)"],
  ["1060202", "支持性服务（孤独症7–17岁）", "support (autism, 7-17)"], ["1060301", "精神疾病药物治疗", "psychiatric medication"],
  ["1060302", "精神障碍作业疗法训练", "occupational therapy"], ["1060303", "支持性服务（精神成年）", "support (mental, adult)"]]},
{"id": "CL-18", "source": "targeted rehabilitation system", "codes": [
  ["1", "转介评估机构", "refer for assessment"], ["2", "转介服务机构", "refer for service"], ["3", "上门评估", "assess at home"]]},
{"id": "CL-20", "source": "project; 02 needs a licensed provider; 03, 04, 06, 09 need a pre-check", "codes": [
  ["01", "推拿/按摩", "massage"], ["02", "针刺", "acupuncture"], ["03", "艾灸", "moxibustion"], ["04", "拔罐", "cupping"],
  ["05", "刮痧", "scraping"], ["06", "中药熏洗/药浴", "herbal bath"], ["07", "穴位贴敷", "acupoint plaster"],
  ["08", "耳穴压豆", "ear acupressure"], ["09", "中药热敷/蜡疗", "hot herbal or wax pack"], ["10", "八段锦/导引", "guided exercise"],
  ["11", "关节活动度训练", "range of motion"], ["12", "肌力训练", "strength training"],
  ["13", "体位摆放/转移训练", "positioning and transfer"], ["14", "日常生活活动训练", "daily living"], ["15", "步行训练", "walking"],
  ["16", "言语/吞咽训练", "speech and swallowing"], ["17", "理疗仪器", "physiotherapy device"],
  ["18", "健康教育/家属指导", "teaching the family"], ["19", "心理疏导", "counselling"], ["99", "其他", "other"]]},
{"id": "CL-17/20", "source": "CL-17 and CL-20 together; their codes differ", "includes": ["CL-17", "CL-20"]},
{"id": "CL-28", "source": "dynamic-update R17 (1, 4 unverified); 0 (project)", "codes": [
  ["0", "未就业", "not employed"], ["1", "按比例就业", "quota employment"], ["2", "集中就业", "group employment"],
  ["3", "个体就业(含自主创业)", "self-employed"], ["4", "公益性岗位", "public-service post"],
  ["5", "辅助性就业", "supported employment"], ["6", "农村种养加", "farming"], ["7", "灵活就业", "flexible employment"]]},
{"id": "CL-29", "source": "project; 1-6 as named in two plans", "codes": [
  ["1", "普通学校随班就读", "mainstream class"], ["2", "普通学校特教班", "special class"], ["3", "特殊教育学校", "special school"],
  ["4", "儿童福利机构特教班", "class in a children's home"], ["5", "送教上门", "taught at home"],
  ["6", "远程教育", "distance learning"], ["7", "学前(普通/特教/康复机构)", "preschool"],
  ["8", "高中阶段/职业", "senior or vocational"], ["9", "未入学", "not at school"]]},
{"id": "CL-31", "source": "project", "codes": [
  ["0", "未知", "unknown"], ["1", "偏差小于5分钟", "within 5 minutes"], ["2", "偏差小于24小时", "within 24 hours"],
  ["3", "可疑", "suspect"], ["4", "镇残联已更正", "corrected by the desk"]]},
{"id": "CL-33", "source": "project", "codes": [
  ["P1", "联系信息", "contact"], ["P2", "身份信息", "identity"], ["S1", "残疾与待遇", "disability and benefits"],
  ["S2", "健康与康复", "health and rehabilitation"], ["S3", "特别敏感", "severe mental, abuse, under 14, biometric"]]},
{"id": "CL-35", "source": "project", "codes": [
  ["1", "完全自理", "independent"], ["2", "部分自理", "partly dependent"], ["3", "完全不能自理", "fully dependent"]]},
{"id": "CL-36", "source": "project", "codes": [
  ["1", "普通话语音", "spoken Mandarin"], ["2", "方言语音", "spoken dialect"], ["3", "国家通用手语", "national sign language"],
  ["4", "家庭手势", "home signs"], ["5", "大字", "large print"], ["6", "国家通用盲文", "national braille"],
  ["7", "简明图文", "simple pictures"], ["8", "家属转述", "through the family"], ["9", "无法交流", "cannot communicate"]]},
{"id": "status", "source": "project, DOMAIN 2.0", "codes": [
  ["draft", "草稿", "draft"], ["signed", "已签", "signed"], ["corrected", "已更正", "corrected"], ["voided", "已作废", "voided"]]},
{"id": "entry-mode", "source": "project, DOMAIN 2.0", "codes": [
  ["1", "在线", "online"], ["2", "离线", "offline"], ["3", "补录", "late entry"], ["4", "代录", "on behalf of another"],
  ["5", "导入", "import"]]},
{"id": "legal-basis", "source": "project; 个人信息保护法 art. 13, 28-31, 34, 37 (to be confirmed by the district's lawyers)", "codes": [
  ["duty", "履行法定职责", "statutory duty"], ["consent", "本人同意", "consent of the person"],
  ["guardian", "监护人同意", "consent of the guardian"], ["emergency", "突发事件或紧急情况", "emergency"]]},
{"id": "id-absent", "source": "project, DOMAIN K01", "codes": [
  ["1", "未落户", "not registered"], ["2", "遗失", "lost"], ["3", "婴幼儿未上户", "infant, not yet registered"],
  ["4", "其他", "other"]]},
{"id": "no-phone", "source": "project", "codes": [
  ["1", "无电话", "no telephone"], ["2", "不愿提供", "does not wish to say"], ["3", "待核实", "to be asked"], ["9", "其他", "other"]]},
{"id": "guardian-kind", "source": "project, DOMAIN K01", "codes": [
  ["1", "法定", "statutory"], ["2", "指定", "appointed"], ["3", "委托", "entrusted"]]},
{"id": "age-band", "source": "project", "codes": [
  ["1", "18岁以下", "under 18"], ["2", "18–44岁", "18-44"], ["3", "45–59岁", "45-59"], ["4", "60–74岁", "60-74"],
  ["5", "75岁及以上", "75 and over"]]},
{"id": "living", "source": "project, DOMAIN K01", "codes": [
  ["1", "独居", "alone"], ["2", "与家人同住", "with family"], ["3", "与亲友同住", "with relatives or friends"],
  ["4", "机构", "in an institution"], ["5", "一户多残", "several disabled in one household"],
  ["6", "老残一体", "old and disabled together"]]},
{"id": "mobility", "source": "project, DOMAIN K01", "codes": [
  ["1", "独立", "independent"], ["2", "借助辅具", "with a device"], ["3", "需人帮助", "with help"], ["4", "不能", "cannot"]]},
{"id": "doctor-package", "source": "project, DOMAIN K01", "codes": [
  ["1", "基础服务包", "basic package"], ["2", "增值服务包", "extended package"]]},
{"id": "tier", "source": "project, DOMAIN 5.1", "codes": [
  ["A", "A级", "tier A"], ["B", "B级", "tier B"], ["C", "C级", "tier C"]]},
{"id": "life", "source": "project, DOMAIN K01", "codes": [
  ["1", "在世", "alive"], ["2", "死亡", "died"], ["3", "失踪", "missing"], ["4", "迁出", "moved away"], ["5", "注销", "cancelled"]]},
{"id": "visit-reason", "source": "project, DOMAIN K05", "codes": [
  ["1", "定期", "regular"], ["2", "元旦", "New Year"], ["3", "春节", "Spring Festival"], ["4", "助残日", "Day of Helping the Disabled"],
  ["5", "国际残疾人日", "International Day of Persons with Disabilities"], ["6", "回访", "return visit"], ["7", "突发", "sudden event"],
  ["8", "投诉", "complaint"], ["9", "评估", "assessment"], ["10", "送服务", "bringing a service"], ["99", "其他", "other"]]},
{"id": "companion", "source": "project, DOMAIN K05", "codes": [
  ["1", "村医", "village doctor"], ["2", "志愿者", "volunteer"], ["3", "镇干部", "township official"],
  ["4", "村干部", "village official"], ["9", "其他", "other"]]},
{"id": "met", "source": "project, DOMAIN K05", "codes": [
  ["1", "本人", "the person"], ["2", "监护人", "guardian"], ["3", "家属", "family"], ["4", "邻居", "neighbour"]]},
{"id": "general-state", "source": "project, DOMAIN K05", "codes": [
  ["1", "好", "good"], ["2", "一般", "fair"], ["3", "差", "poor"], ["4", "危急", "critical"]]},
{"id": "mood", "source": "project, DOMAIN K05", "codes": [
  ["1", "平稳", "calm"], ["2", "低落", "low"], ["3", "焦虑/激动", "anxious or agitated"], ["4", "不便判断", "cannot say"]]},
{"id": "bedsore", "source": "project, DOMAIN K05", "codes": [
  ["1", "无", "none"], ["2", "有", "present"]]},
{"id": "medication", "source": "project, DOMAIN K05", "codes": [
  ["1", "够", "enough"], ["2", "将尽(<7天)", "nearly used up (<7 days)"], ["3", "断药", "ran out"], ["4", "无需", "none needed"]]},
{"id": "device-state", "source": "project, DOMAIN K05", "codes": [
  ["1", "正常", "works"], ["2", "需维修", "needs repair"], ["3", "不用", "not used"], ["4", "丢失/损坏", "lost or broken"]]},
{"id": "home-safety", "source": "project, DOMAIN K05", "codes": [
  ["1", "用电", "electricity"], ["2", "用火", "open fire"], ["3", "燃气", "gas"], ["4", "地滑", "slippery floor"],
  ["5", "门锁", "door lock"], ["6", "取暖(CO)", "heating (CO)"], ["7", "积水", "standing water"], ["0", "无隐患", "no danger"]]},
{"id": "carer-state", "source": "project, DOMAIN K05", "codes": [
  ["1", "好", "well"], ["2", "疲惫", "tired"], ["3", "生病/无法照护", "ill or unable"], ["4", "无照护者", "no carer"]]},
{"id": "checked", "source": "project, DOMAIN K05", "codes": [
  ["1", "已落实", "in place"], ["2", "未落实", "not in place"], ["3", "不清楚", "unclear"]]},
{"id": "on-the-spot", "source": "project, DOMAIN K05", "codes": [
  ["1", "代办", "errand"], ["2", "送物", "goods"], ["3", "康复指导", "rehabilitation advice"], ["4", "政策宣传", "policy information"],
  ["5", "家务", "housework"], ["6", "陪聊", "company"], ["7", "安全提示", "safety advice"], ["9", "其他", "other"]]},
{"id": "satisfaction", "source": "national follow-up form; 4 (project)", "codes": [
  ["1", "满意", "satisfied"], ["2", "较满意", "fairly satisfied"], ["3", "不满意", "not satisfied"], ["4", "未问", "not asked"]]},
{"id": "confirmation", "source": "project, DOMAIN K05", "codes": [
  ["1", "签名", "signature"], ["2", "手印", "thumbprint"], ["3", "语音", "voice"], ["4", "见证", "witness"],
  ["5", "无法确认", "not confirmed"]]},
{"id": "session-place", "source": "project, DOMAIN K09", "codes": [
  ["1", "家中", "at home"], ["2", "村康复站", "village station"], ["3", "卫生院/机构", "clinic or institution"],
  ["4", "线上", "online"]]},
{"id": "provider-type", "source": "project, DOMAIN K09", "codes": [
  ["1", "康复师", "therapist"], ["2", "中医师", "TCM doctor"], ["3", "村医", "village doctor"],
  ["4", "协调员/委员(非治疗)", "coordinator or member, no treatment"], ["5", "家属指导下", "family under guidance"]]},
{"id": "skin", "source": "project, DOMAIN K09", "codes": [
  ["1", "正常", "normal"], ["2", "破损", "broken"]]},
{"id": "response", "source": "project, DOMAIN K09", "codes": [
  ["1", "良好", "good"], ["2", "一般", "fair"], ["3", "不适", "discomfort"]]},
{"id": "adverse", "source": "project, DOMAIN K09", "codes": [
  ["none", "无", "none"], ["burn", "烫伤", "burn"], ["bleeding", "出血", "bleeding"], ["fainting", "晕针", "fainting"],
  ["fall", "跌倒", "fall"], ["other", "其他", "other"]]},
{"id": "not-done", "source": "project, DOMAIN K09", "codes": [
  ["1", "不在家", "not at home"], ["2", "拒绝", "refused"], ["3", "身体不适", "unwell"], ["4", "天气", "weather"],
  ["5", "人员", "staff"], ["6", "其他", "other"]]})json";

}  // namespace doorstep::builtin
