#!/usr/bin/env bash
# A village's day, from the first invitation to three equal devices, with real processes: a relay on a real socket, the desk of a
# township, two phones of one village. Nobody in it exists. Ends with checks that it computes; fails if one does not hold.
#
#   examples/demo.sh                 builds what is missing, then takes under a minute
#   examples/demo.sh --spoil NAME    shows that the checks can fail: leak, history, late (may be repeated)
#
# What it leaves to look at: build/demo (devices, the relay's files, the recorded traffic).
set -u
cd "$(dirname "$0")/.." || exit 1
. examples/lib.sh

spoil=""
while [ $# -gt 0 ]; do
  case $1 in
    --spoil) spoil="$spoil ${2:-} "; shift ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done

# ---- Programs, folders, processes

if [ -n "${DOORSTEP_BIN_DIR:-}" ]; then
  bin=$DOORSTEP_BIN_DIR
else
  # shellcheck disable=SC2086,SC2154
  need_packages $build_packages libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev || exit 1
  build_preset release doorstep-cli doorstep-relay doorstep-wiretap || exit 1
  bin=$PWD/build/release/bin
fi
dir=${DOORSTEP_DEMO_DIR:-$PWD/build/demo}
rm -rf "$dir"
mkdir -p "$dir" || exit 1
export LC_ALL=C.UTF-8 # for the width of Chinese text; the tool's language is chosen call by call
export DOORSTEP_TEST_IDENTITIES=true
unset DOORSTEP_STORE DOORSTEP_PASSPHRASE_FILE DOORSTEP_SPACE DOORSTEP_CLOCK_OFFSET_MS
start=$SECONDS

relay_pid="" tap_pid=""
stop() {
  [ -n "$tap_pid" ] && kill "$tap_pid" 2>/dev/null
  [ -n "$relay_pid" ] && kill "$relay_pid" 2>/dev/null
  wait 2>/dev/null
}
trap stop EXIT
trap 'exit 130' INT TERM

exec 3>&2 # where a failure is told, also from where the tool's own hints are not wanted
die() { printf '%s\n' "$*" >&3; exit 1; }
# until_true SECONDS COMMAND...: waits for something another process does.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

# on DEVICE ARGUMENTS...: the tool on one device. A failure ends the demo, with the tool's own sentence above.
on() {
  local device=$1
  shift
  "$bin/doorstep" --lang en --store "$dir/$device" --passphrase-file "$dir/$device.passphrase" "$@" ||
    die "demo: \`doorstep $*\` on $device failed with exit code $?"
}
put() { # put DEVICE KIND JSON [OPTION...]: prints the new record's id
  local device=$1 kind=$2 json=$3
  shift 3
  on "$device" put "$kind" --json "$json" "$@" 2>>"$dir/hints.log"
}
sync() { on "$1" sync --proxy "127.0.0.1:$tap_port" --quiet >>"$dir/sync.log" 2>&1 || { tail -n 3 "$dir/sync.log" >&2; exit 1; }; }
# member NAME: that member of the JSON on standard input.
member() { sed -n 's/.*"'"$1"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# ---- Telling: every sentence in Chinese and English, tables that stand straight with both

tell() { printf '\n%s\n%s\n' "$1" "$2"; }
pad() { # pad TEXT COLUMNS: a Chinese character takes two
  local width
  width=$(printf '%s' "$1" | wc -L)
  printf '%s%*s' "$1" $((width < $2 ? $2 - width : 0)) ''
}
row() { printf '  %s %s %s %s\n' "$(pad "$1" 34)" "$(pad "$2" 24)" "$(pad "$3" 24)" "$4"; }
devices="phone1 phone2 desk"
head_row() {
  row "" "手机1 兰委员 phone 1" "手机2 付村医 phone 2" "镇残联 吴 desk"
  row "──────────────────────────────────" "────────────────────────" "────────────────────────" "────────────────────────"
}
# each COMMAND...: one row's cells: the command with the device's name as its first argument.
each() {
  local label=$1 device cells=()
  shift
  for device in $devices; do cells+=("$("$@" "$device")"); done
  row "$label" "${cells[@]}"
}
count_of() { on "$2" list "$1" --count; }
phones_of() { on "$2" get "$1" --field phones | sed 's/.*\(....\)$/…\1/' | paste -sd' ' -; }
self_care_of() { # the shown value, "2 | 3" with what else stands beside it
  local shown others
  shown=$(on "$2" get "$1" --field self_care)
  others=$(on "$2" conflicts --values --json | grep "\"$1\",.*\"field\":\"self_care\"" | grep -o '"value":"[0-9]"' | grep -o '[0-9]' |
    grep -v "$shown" | paste -sd'|' -)
  printf '%s%s' "$shown" "${others:+  (!) 并存 also: $others}"
}
pending_of() { on "$1" pending --json | member transactions; }
digest_of() { on "$1" digest --json | member digest | cut -c1-16; }
village() {
  head_row
  each "人员 persons" count_of person
  each "走访 home visits" count_of home_visit
  each "康复服务 rehab sessions" count_of rehab_session
  each "电话 phones of ${1:0:8}" phones_of "$1"
  each "自理能力 self_care of ${1:0:8}" self_care_of "$1"
  each "未送到 pending" pending_of
  each "状态摘要 state digest" digest_of
}

bytes_since() { # prints "up down" counted by the proxy since the last call
  local lines
  lines=$(wc -l <"$dir/tap.out")
  kill -USR1 "$tap_pid"
  until_true 5 test_lines "$lines" || die "demo: the proxy does not answer"
  tail -n 1 "$dir/tap.out" | sed 's/.*"up":\([0-9]*\),"down":\([0-9]*\).*/\1 \2/'
}
test_lines() { [ "$(wc -l <"$dir/tap.out")" -gt "$1" ]; }

# ---- 1. A relay, a desk, a space

tell "一、镇残联建立空间，中继启动" "1. The township founds a space, the relay starts"
for device in $devices; do
  printf 'the passphrase of %s\n' "$device" >"$dir/$device.passphrase"
  on "$device" init >/dev/null 2>&1
done
"$bin/doorstep-relay" init --data "$dir/relay" --authority "$(on desk authority)" >"$dir/relay.init" 2>&1 ||
  die "demo: doorstep-relay init failed: $(cat "$dir/relay.init")"
"$bin/doorstep-relay" serve --data "$dir/relay" --listen 127.0.0.1:0 >"$dir/relay.out" 2>"$dir/relay.log" &
relay_pid=$!
relay_listens() { grep -q '#' "$dir/relay.out" 2>/dev/null; }
until_true 10 relay_listens || die "demo: the relay does not start: $(cat "$dir/relay.log")"
relay=$(grep -o '127\.0\.0\.1:[0-9]*#[0-9a-f]\{64\}' "$dir/relay.out" | head -n 1)
"$bin/doorstep-wiretap" --listen 0 --to "${relay%#*}" --record "$dir/traffic" >"$dir/tap.out" &
tap_pid=$!
until_true 5 test_lines 0 || die "demo: the proxy does not start"
tap_port=$(head -n 1 "$dir/tap.out")

village_name="上湾村" label_desk="吴文书" label_1="兰委员" label_2="付村医"
space=$(on desk space found --name "$village_name" --relay "$relay" --label "$label_desk") || exit 1
tell "空间 ${space:0:8}，中继 ${relay%#*}（连接全部经过录包代理 127.0.0.1:$tap_port）" \
  "Space ${space:0:8}, relay ${relay%#*} (every connection passes a recording proxy, 127.0.0.1:$tap_port)"

# ---- 2. 105 persons from a spreadsheet, two phones invited

tell "二、从表格导入105人；邀请两部手机加入" "2. 105 persons from a spreadsheet; two phones are invited"
today=$(TZ=UTC-8 date +%F)
"$bin/doorstep" demo-data --today "$today" --out "$dir/persons.csv" --secrets "$dir/secrets.given" || exit 1
on desk import "$dir/persons.csv"
for phone in 1 2; do
  on desk invite --role member >"$dir/invitation.$phone" 2>/dev/null
done
sync desk
on phone1 join - --label "$label_1" --name "$village_name" <"$dir/invitation.1" >/dev/null 2>&1
on phone2 join - --label "$label_2" --name "$village_name" <"$dir/invitation.2" >/dev/null 2>&1
sync phone1
sync phone2
sync desk
on desk applicants
on desk admit --all >/dev/null 2>&1
sync desk
sync phone1
on phone1 demo-data --today "$today" --write history | sed 's/^history/走访与康复历史 history of visits and sessions:/'
for device in phone1 phone2 desk; do sync "$device"; done
read -r up down <<<"$(bytes_since)"
tell "首次同步后，三台设备一致；首次同步共 ↑$up ↓$down 字节" "After the first sync all three agree; it took $up bytes up and $down bytes down"
mapfile -t ids < <(on desk list person --ids)
chen=$(on desk list person --where self_care=1 --limit 1 --ids) || exit 1
[ "${#ids[@]}" = 105 ] && [ -n "$chen" ] || die "demo: the persons did not arrive"
village "$chen"

# ---- 3. A day without signal

tell "三、没有信号的一天：两部手机和镇残联各记各的" "3. A day without signal: each device records on its own"
next_week=$(TZ=UTC-8 date -d "+7 days" +%F)
org=990604101201
fact='"observed_on":"'$today'","org_code":"'$org'","status":"signed","entry_mode":"2","consent_ref":"duty"'
note_1="敲门三次无人应答，邻居说去赶集了" note_2="降压药只剩三天，儿子说周末回来买" words_2="想把门口的坡道修一修"
note_3="村医推拿，本人精神尚好；轮椅刹车松了" note_4="推拿四十分钟后教妻子翻身拍背"
reason_desk="县医院来电：不能自行起身" reason_2="上门看到可以自己吃饭穿衣"
son=13000001111 daughter=15000002222

put phone1 home_visit '{"person_id":"'"${ids[3]}"'",'"$fact"',"visit_mode":"1","visit_result":"03","visit_reason":["1"],
  "next_attempt_on":"'"$next_week"'","note":["'"$note_1"'"]}' >>"$dir/written.ids"
echo "  08:30 手机1：第一户，临时不在家（结果03），一周后再访 · phone 1: nobody at home (result 03), again in a week"
put phone1 home_visit '{"person_id":"'"$chen"'",'"$fact"',"visit_mode":"1","visit_result":"01","visit_reason":["1"],"met_persons":["1","3"],
  "general_state":"2","mood_state":"1","medication_supply":"2","home_safety":["4"],"no_problems":true,"confirmed_by":{"method":"2"},
  "requests":"'"$words_2"'","note":["'"$note_2"'"]}' >>"$dir/written.ids"
put phone1 person '{"phones":[{"number":"'$son'","owner":"儿子","relation":"6"}]}' --id "$chen" >/dev/null
echo "  09:00 手机1：第二户，见到本人，药快吃完；新增儿子电话 · phone 1: met the person, medicine nearly used up; the son's phone is added"
# plan_ref and provider name records that another day's work will bring; references are not checked for existence.
plan=${ids[7]} doctor=${ids[7]} third=${ids[7]}
put phone2 rehab_session '{"person_id":"'"$third"'",'"$fact"',"plan_ref":"'"$plan"'","place":"1","start_time":"'"$today"'T10:00:00+08:00",
  "duration_min":45,"items_done":[{"item":"01","body_part":"腰背","minutes":40,"by":"'"$label_2"'"}],
  "provider":"'"$doctor"'","provider_type":"3",
  "provider_name":"付德明","pre_check":{"bp_sys":132,"bp_dia":84,"pulse":76,"skin":"1","fever":false},"response":"1","adverse_event":"none",
  "family_trained":{"trained":true,"minutes":10},"subject_confirm":{"method":"2"},"note":["'"$note_4"'"]}' >>"$dir/written.ids"
put phone1 home_visit '{"person_id":"'"$third"'",'"$fact"',"visit_mode":"1","visit_result":"01","visit_reason":["10"],
  "met_persons":["1","3"],
  "general_state":"1","home_safety":["0"],"no_problems":true,"device_state":[{"state":"2"}],"companions":[{"role":"1","name":"付德明"}],
  "confirmed_by":{"method":"2"},"note":["'"$note_3"'"]}' >>"$dir/written.ids"
echo "  10:00 手机2（村医）：推拿40分钟；手机1：陪同，轮椅要修 · phone 2 (the doctor): a session; phone 1: was present, the wheelchair needs repair"
put desk person '{"self_care":"3"}' --id "$chen" --note "$reason_desk" >/dev/null
echo "  10:20 镇残联：县医院来电，自理能力 1→3 · desk: a call from the hospital, self-care 1 to 3"
put phone2 person '{"self_care":"2","phones":[{"number":"'$daughter'","owner":"女儿","relation":"6"}]}' --id "$chen" \
  --note "$reason_2" >/dev/null
echo "  15:00 手机2：同一人，自理能力 1→2，新增女儿电话 · phone 2: the same person, self-care 1 to 2, the daughter's phone is added"

tell "同步之前，各看各的：" "Before the sync each sees its own:"
village "$chen"
# What each device holds and how it was written, up to here: none of it may be missing anywhere later.
written_on() { on "$1" history --all --json | sed 's/,"time":.*//'; }
for device in $devices; do written_on "$device"; done | sort -u >"$dir/written"

# ---- 4. Everybody syncs

tell "四、傍晚大家同步" "4. In the evening everybody syncs"
for device in phone1 phone2 desk phone1 phone2; do sync "$device"; done
read -r up down <<<"$(bytes_since)"
village "$chen"
tell "这一天的全部流量：↑$up ↓$down 字节（三台设备，含握手与回执）" \
  "The whole day on the wire: $up bytes up, $down bytes down (three devices, handshakes and receipts included)"

tell "五、镇残联处理冲突：两个值都在，先按更谨慎的显示，等人决定" \
  "5. The desk decides: both values stand, the more cautious one is shown until somebody does"
on desk conflicts --values
on desk --lang zh resolve "$chen" self_care --value 3 --note "以医院为准，下周上门复核"
for device in desk phone1 phone2; do sync "$device"; done
[[ $spoil == *" late "* ]] && put phone1 person '{"tags":["迟到"]}' --id "$chen" >/dev/null
written_on desk | sort -u "$dir/written" - -o "$dir/written"
tell "决定之后：" "After the decision:"
village "$chen"
tell "自理能力的全部历史（手机2上看到的，含决定的理由）：" "The whole history of that field, as phone 2 sees it, with the reason of the decision:"
on phone2 --lang zh history "$chen" self_care

# ---- 6. Checks

tell "六、检查" "6. Checks"
failed=0
holds() { # holds CHINESE ENGLISH COMMAND...
  local zh=$1 en=$2
  shift 2
  if "$@"; then printf '  ✓ %s · %s\n' "$zh" "$en"; else
    printf '  ✗ %s · %s\n' "$zh" "$en"
    failed=$((failed + 1))
  fi
}
three_equal() {
  local digests
  digests=$(for device in $devices; do on "$device" digest --json | member digest; done)
  [ "$(grep -c . <<<"$digests")" = 3 ] && [ "$(sort -u <<<"$digests" | wc -l)" = 1 ]
}
nothing_pending() {
  local device line
  for device in $devices; do
    line=$(on "$device" pending --json) || return 1
    [ "$(member transactions <<<"$line")" = 0 ] && [ "$(member unsealed <<<"$line")" = 0 ] || return 1
    [ -z "$(member waits_for <<<"$line")" ] || return 1
  done
}
nothing_in_quarantine() { local device; for device in $devices; do [ -z "$(on "$device" quarantine --json)" ] || return 1; done; }
no_conflict_left() { local device; for device in $devices; do [ -z "$(on "$device" conflicts --json)" ] || return 1; done; }
all_in_history() {
  local device
  for device in $devices; do
    written_on "$device" | sort -u >"$dir/history.$device"
    [ -z "$(comm -23 "$dir/written" "$dir/history.$device")" ] || return 1
  done
}
cautious_and_united() {
  local device phones
  for device in $devices; do
    [ "$(on "$device" get "$chen" --field self_care)" = 3 ] || return 1
    phones=$(on "$device" get "$chen" --field phones)
    grep -q $son <<<"$phones" && grep -q $daughter <<<"$phones" || return 1
  done
}
stores_whole() { local device; for device in $devices; do on "$device" verify >/dev/null || return 1; done; }

[[ $spoil == *" history "* ]] && echo '{"record":"00","field":"never written"' | sort -u "$dir/written" - -o "$dir/written"
values=$(wc -l <"$dir/written")
holds "三台设备状态摘要相同" "three equal state digests" three_equal
holds "没有未送到的内容，回执齐全" "nothing pending: the relay's receipts are held for everything" nothing_pending
holds "没有暂存待查的内容" "nothing in quarantine" nothing_in_quarantine
holds "冲突已决定，没有遗留" "no conflict left" no_conflict_left
holds "两部手机新增的电话都在，自理能力为3" "both added phones are there, self-care is 3 everywhere" cautious_and_united
holds "写过的每个值（${values}个）都在三台设备的历史中" "every written value ($values) is in the history of all three" all_in_history
holds "三台设备的数据全面校验通过" "every page, chain and signature of the three stores verifies" stores_whole
kill "$relay_pid" && wait "$relay_pid" 2>/dev/null
relay_pid=""
holds "中继的数据校验通过" "the relay's store verifies" eval '"$bin/doorstep-relay" verify --data "$dir/relay" >>"$dir/relay.log" 2>&1'
kill "$tap_pid" && wait "$tap_pid" 2>/dev/null
tap_pid=""

# The words that must be nowhere: what the data set lists, and every text with a Chinese character or a long number that anybody wrote.
{
  cat "$dir/secrets.given"
  sed -n 's/.*"value":"\([^"\\]*\)".*/\1/p' "$dir/history.desk" | grep -P '[^\x00-\x7f]|[0-9]{11}'
  printf '%s\n' "$village_name" "$label_desk" "$label_1" "$label_2" "$reason_desk" "$reason_2"
} | awk 'length($0) >= 2' | sort -u >"$dir/secrets"
[[ $spoil == *" leak "* ]] && sed -n 100p "$dir/secrets" >>"$dir/traffic"
hits() { LC_ALL=C grep -r -a -o -F -f "$dir/secrets" "$@" 2>/dev/null | wc -l; }
in_none() { # a file or folder that is not there, or empty, has not been searched
  local place
  for place in "$@"; do [ "$(du -sb "$place" 2>/dev/null | cut -f1)" -gt 20000 ] || return 1; done
  [ "$(hits "$@")" = 0 ]
}
# The same as UTF-16, both byte orders, for names.
names_pattern() {
  sed -n 's/.*"field":"name","element":"","subfield":"","value":"\([^"\\]*\)".*/\1/p' "$dir/history.desk" | sort -u | while read -r name; do
    printf '%s' "$name" | iconv -f UTF-8 -t "$1" | od -An -v -tx1 | tr -d ' \n' | sed 's/../\\x&/g'
    echo
  done | paste -sd'|' -
}
no_wide_names() {
  local order
  for order in UTF-16LE UTF-16BE; do
    names_pattern $order >"$dir/names.$order"
    [ -s "$dir/names.$order" ] || return 1
    # 1 is "not found", which is what we want; 0 is a find and 2 an error.
    LC_ALL=C grep -r -a -q -P -f "$dir/names.$order" "$dir/relay" "$dir/traffic" "$dir/phone1" "$dir/phone2" "$dir/desk"
    [ $? = 1 ] || return 1
  done
}
words=$(wc -l <"$dir/secrets")
in_csv=$(hits "$dir/persons.csv")
holds "检查方法有效：在导入的表格里找得到" "the search works: it finds them in the imported spreadsheet ($in_csv times)" [ "$in_csv" -gt 300 ]
holds "中继的文件里没有任何姓名、号码、备注（共${words}项）" "no name, number or note ($words searched) in the relay's files" in_none "$dir/relay"
holds "三台设备的文件里没有" "none in the devices' files" in_none "$dir/phone1" "$dir/phone2" "$dir/desk"
holds "录下的全部流量里没有（$(wc -c <"$dir/traffic")字节）" "none in the recorded traffic ($(wc -c <"$dir/traffic") bytes)" in_none "$dir/traffic"
holds "也没有UTF-16编码的姓名" "nor a name as UTF-16" no_wide_names

size() { du -sk "$1" | cut -f1; }
took=$((SECONDS - start))
sizes_of() { printf '%s' "$(size "$dir/$1")"; }
tell "数据：手机 $(sizes_of phone1) KiB，镇残联 $(sizes_of desk) KiB，中继 $(sizes_of relay) KiB；用时 $took 秒；留在 $dir" \
  "Stores: a phone $(sizes_of phone1) KiB, the desk $(sizes_of desk) KiB, the relay $(sizes_of relay) KiB; it took $took s; left in $dir"
if [ "$failed" != 0 ]; then
  tell "有 $failed 项检查未通过。" "$failed checks failed."
  exit 1
fi
tell "全部检查通过：离线记录，加密经过看不懂内容的中继，三处合并成同一结果，两个意见都留着，由人决定。" \
  "All checks hold: written offline, carried encrypted by a relay that cannot read it, merged to the same state in three places, both
opinions kept until a person decided."
