#!/bin/sh
# Makes the simulator's clip: clip.h264, clip.aac and clip-b.h264, beside this script.
#
# Needs ffmpeg with libx264 and librsvg, and the fonts DejaVu Sans and Noto Sans CJK
# (Debian: apt-get install ffmpeg fonts-dejavu-core fonts-noto-cjk).
#
# The clip lasts 8 s because that is the shortest time in which whole GOPs (30 frames),
# and whole AAC frames (1024 samples at 48 kHz) end together: 240 pictures, 375 AAC frames.
# So both loop for ever without drifting apart. Everything that moves has a period that divides 8 s.
#
# The picture also carries its frame number for machines: ten squares of 20 px in the lower left corner
# (x = 40 + 24 k, y = 640): white; the frame number 0-239 in 8 bits, most significant first; its even parity.
set -eu
cd "$(dirname "$0")"
fonts=/usr/share/fonts/truetype/dejavu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

code="drawbox=x=30:y=632:w=256:h=36:color=0x080b1c:t=fill,drawbox=x=40:y=640:w=20:h=20:color=white:t=fill"
for k in 0 1 2 3 4 5 6 7; do
    code="$code,drawbox=x=$((64 + 24 * k)):y=640:w=20:h=20:color=white:t=fill:enable='gt(bitand(n,$((128 >> k))),0)'"
done
bits="0"
for k in 1 2 4 8 16 32 64 128; do bits="$bits+gt(bitand(n,$k),0)"; done
code="$code,drawbox=x=256:y=640:w=20:h=20:color=white:t=fill:enable='mod($bits,2)'"

# The ball meets the floor on each full second, when the flash and the beep come.
bounce="mod(t+0.0001\\,1)"
picture="
[0:v]format=yuv444p[stage];
[1:v]format=rgba,rotate=a=2*PI*t:c=none:ow=340:oh=340[fast];
[2:v]format=rgba,rotate=a=2*PI*t/8:c=none:ow=340:oh=340[slow];
[3:v]format=rgba,rotate=a=2*PI*t/4:c=none:ow=128:oh=128[ball];
[stage][6:v]overlay=x=-160*mod(t+0.0001\,8):y=684:format=yuv444[a];
[a][4:v]overlay=x=440-380*cos(2*PI*t/8)-80:y=586:format=yuv444[b];
[b][ball]overlay=x=440-380*cos(2*PI*t/8)-64:y=480-1320*$bounce*(1-$bounce):format=yuv444[c];
[c][slow]overlay=x=860:y=44:format=yuv444[d];
[d][fast]overlay=x=860:y=44:format=yuv444[e];
[e][5:v]overlay=enable=lt($bounce\\,0.1):format=yuv444,
drawtext=fontfile=$fonts/DejaVuSansMono-Bold.ttf:fontsize=60:fontcolor=white:x=910:y=429:
text='%{eif\:trunc(n/30)\:d\:2}.%{eif\:trunc(mod(n*10/3+0.01,100))\:d\:2}',
drawtext=fontfile=$fonts/DejaVuSansMono.ttf:fontsize=24:fontcolor=0xc9d4ff:x=300:y=640:text='frame %{eif\:n\:d\:3}',
$code,format=yuv420p[out]"

# 8 s, lossless, so that both encodings start from the same pictures.
ffmpeg -hide_banner -loglevel error -y \
    -framerate 30 -loop 1 -i stage.svg -framerate 30 -loop 1 -i fast.svg -framerate 30 -loop 1 -i slow.svg -framerate 30 -loop 1 -i ball.svg \
    -framerate 30 -loop 1 -i shadow.svg -framerate 30 -loop 1 -i flash.svg -framerate 30 -loop 1 -i bars.svg \
    -filter_complex "$picture" -map '[out]' -frames:v 240 -c:v ffv1 "$work/clip.mkv"

common="keyint=30:min-keyint=30:scenecut=0:open-gop=0:aud=1:sliced-threads=0:threads=1"
for pass in 1 2; do
    ffmpeg -hide_banner -loglevel error -y -i "$work/clip.mkv" -c:v libx264 -preset veryslow -profile:v high -level 3.1 -bf 0 -b:v "${RATE:-1000k}" \
        -maxrate 2000k -bufsize 1000k -pass $pass -passlogfile "$work/pass" -bsf:v 'filter_units=remove_types=6' \
        -color_primaries bt709 -color_trc bt709 -colorspace bt709 -x264-params "$common" -f h264 clip.h264
done
# B-frames in a fixed pattern (no adaptive placing, none used as a reference).
ffmpeg -hide_banner -loglevel error -y -i "$work/clip.mkv" -frames:v 60 -c:v libx264 -preset veryslow -profile:v high -level 3.1 -b:v 700k -maxrate 1400k -bufsize 700k \
    -bsf:v 'filter_units=remove_types=6' -color_primaries bt709 -color_trc bt709 -colorspace bt709 \
    -x264-params "$common:bframes=2:b-adapt=0:b-pyramid=none" -f h264 clip-b.h264

# Sound: three rounds are encoded and the middle one is kept, so that its end leads into its beginning.
beep="0.5*sin(2*PI*if(lt(mod(t\,8)\,1)\,1500\,1000)*t)*lt(mod(t\,1)\,0.1)*sin(PI*mod(t\,1)/0.1)"
ffmpeg -hide_banner -loglevel error -y -f lavfi -i "aevalsrc=$beep+0.02*sin(2*PI*220*t)|$beep+0.02*sin(2*PI*330*t):s=48000:d=24" \
    -c:a aac -profile:a aac_low -b:a 64k -f adts "$work/three.aac"
# The encoder's first frame is its delay: frame n carries the samples from (n - 1) * 1024.
ffmpeg -hide_banner -loglevel error -y -f aac -i "$work/three.aac" -c:a copy -bsf:a "noise=drop='lt(n,376)+gte(n,751)'" -f adts clip.aac
ls -l clip.h264 clip-b.h264 clip.aac
