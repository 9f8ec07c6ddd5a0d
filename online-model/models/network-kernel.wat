;; The inputs of a network and its layers, over many rows. Called by network-kernel.ts, which has the same in JavaScript: both give the
;; same bits. Two neighbours share a vector; what is computed of one does not depend on the other. Addresses and strides are in bytes.
;;
;; network-kernel-code.ts holds this text compiled; test/online-model/models/network-kernel.test.ts compiles it again.
(module
  (import "network" "memory" (memory 1))

  ;; ln(1 + x) for x that is not negative: log1p() of exponentials.ts, operation by operation, with choices in place of branches.
  (func $log1p (param $x v128) (result v128)
    (local $isSmall v128) (local $u v128) (local $mantissa v128) (local $isLow v128) (local $isNear v128)
    (local $lost v128) (local $k v128) (local $f v128) (local $half v128) (local $s v128) (local $z v128) (local $low v128)
    ;; Below √2 − 1, 1 + x needs no reduction.
    (local.set $isSmall (f64x2.lt (local.get $x) (v128.const f64x2 0.4142136573791504 0.4142136573791504)))
    ;; From 2^53 on, 1 + x is x and nothing is lost.
    (local.set $u
      (v128.bitselect
        (f64x2.add (local.get $x) (v128.const f64x2 1 1))
        (local.get $x)
        (f64x2.lt (local.get $x) (v128.const f64x2 0x1p53 0x1p53))))
    (local.set $lost
      (v128.andnot
        (f64x2.div
          (v128.bitselect
            (f64x2.sub (v128.const f64x2 1 1) (f64x2.sub (local.get $u) (local.get $x)))
            (f64x2.sub (local.get $x) (f64x2.sub (local.get $u) (v128.const f64x2 1 1)))
            (f64x2.ge (local.get $u) (v128.const f64x2 2 2)))
          (local.get $u))
        (v128.or (local.get $isSmall) (f64x2.eq (local.get $u) (local.get $x)))))
    ;; u = 2^exponent · mantissa, which is from 1 to 2.
    (local.set $mantissa
      (v128.or
        (v128.and (local.get $u) (v128.const i64x2 0x000fffffffffffff 0x000fffffffffffff))
        (v128.const f64x2 1 1)))
    (local.set $isLow (f64x2.lt (local.get $mantissa) (v128.const f64x2 0x1.6a09ep0 0x1.6a09ep0)))
    (local.set $isNear
      (v128.andnot
        (v128.or
          (f64x2.lt (local.get $mantissa) (v128.const f64x2 0x1.00001p0 0x1.00001p0))
          (f64x2.ge (local.get $mantissa) (v128.const f64x2 0x1.ffffdp0 0x1.ffffdp0)))
        (local.get $isSmall)))
    (local.set $f
      (v128.bitselect
        (local.get $x)
        (f64x2.sub
          (v128.bitselect
            (local.get $mantissa)
            (f64x2.mul (local.get $mantissa) (v128.const f64x2 0.5 0.5))
            (local.get $isLow))
          (v128.const f64x2 1 1))
        (local.get $isSmall)))
    ;; The biased exponent in the last digits of 2^52 is that of u as a number, but for what is subtracted.
    (local.set $k
      (v128.andnot
        (f64x2.sub
          (v128.or (i64x2.shr_u (local.get $u) (i32.const 52)) (v128.const f64x2 0x1p52 0x1p52))
          (v128.bitselect
            (v128.const f64x2 0x1.00000000003ffp52 0x1.00000000003ffp52)
            (v128.const f64x2 0x1.00000000003fep52 0x1.00000000003fep52)
            (local.get $isLow)))
        (local.get $isSmall)))
    (local.set $half
      (f64x2.mul (f64x2.mul (v128.const f64x2 0.5 0.5) (local.get $f)) (local.get $f)))
    (local.set $s (f64x2.div (local.get $f) (f64x2.add (v128.const f64x2 2 2) (local.get $f))))
    (local.set $z (f64x2.mul (local.get $s) (local.get $s)))
    (local.set $low
      (f64x2.add
        (f64x2.mul (local.get $k) (v128.const f64x2 1.9082149292705877e-10 1.9082149292705877e-10))
        (local.get $lost)))
    (v128.bitselect
      (v128.bitselect
        (f64x2.sub
          (f64x2.mul (local.get $k) (v128.const f64x2 0.6931471803691238 0.6931471803691238))
          (f64x2.sub
            (v128.bitselect
              (f64x2.sub
                (f64x2.mul
                  (local.get $half)
                  (f64x2.sub
                    (v128.const f64x2 1 1)
                    (f64x2.mul (v128.const f64x2 0.6666666666666666 0.6666666666666666) (local.get $f))))
                (local.get $low))
              (f64x2.sub
                (local.get $half)
                (f64x2.add
                  (f64x2.mul (local.get $s) (f64x2.add (local.get $half) (call $series (local.get $z))))
                  (local.get $low)))
              (local.get $isNear))
            (local.get $f)))
        (f64x2.sub
          (local.get $x)
          (f64x2.mul (f64x2.mul (local.get $x) (local.get $x)) (v128.const f64x2 0.5 0.5)))
        (f64x2.ge (local.get $x) (v128.const f64x2 0x1p-29 0x1p-29)))
      (local.get $x)
      (f64x2.lt (local.get $x) (v128.const f64x2 inf inf))))

  (func $series (param $z v128) (result v128)
    (local $sum v128)
    (local.set $sum (v128.const f64x2 0.14798198605116586 0.14798198605116586))
    (local.set $sum (f64x2.add (v128.const f64x2 0.15313837699209373 0.15313837699209373) (f64x2.mul (local.get $z) (local.get $sum))))
    (local.set $sum (f64x2.add (v128.const f64x2 0.1818357216161805 0.1818357216161805) (f64x2.mul (local.get $z) (local.get $sum))))
    (local.set $sum (f64x2.add (v128.const f64x2 0.22222198432149784 0.22222198432149784) (f64x2.mul (local.get $z) (local.get $sum))))
    (local.set $sum (f64x2.add (v128.const f64x2 0.2857142874366239 0.2857142874366239) (f64x2.mul (local.get $z) (local.get $sum))))
    (local.set $sum (f64x2.add (v128.const f64x2 0.3999999999940942 0.3999999999940942) (f64x2.mul (local.get $z) (local.get $sum))))
    (local.set $sum (f64x2.add (v128.const f64x2 0.6666666666666735 0.6666666666666735) (f64x2.mul (local.get $z) (local.get $sum))))
    (f64x2.mul (local.get $z) (local.get $sum)))

  ;; standardise() of input-scales.ts: vectors of `width` numbers, one after the other, to rows of whole pairs. Units are positive. Where
  ;; the width is odd, the last pair of a row has a stranger in it, whose result nobody reads.
  (func (export "standardiseRows")
    (param $count i32)
    (param $from i32) (param $width i32)
    (param $units i32) (param $means i32) (param $scales i32)
    (param $into i32) (param $stride i32)
    (local $i i32) (local $value v128) (local $input v128)
    (block $done
      (loop $rows
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $i (i32.const 0))
        (block $row
          (loop $pairs
            (br_if $row (i32.ge_u (local.get $i) (local.get $width)))
            (local.set $value (v128.load (i32.add (local.get $from) (local.get $i))))
            ;; The logarithm of the absolute value, with the sign of the value.
            (local.set $input
              (v128.or
                (call $log1p
                  (f64x2.div
                    (f64x2.abs (local.get $value))
                    (v128.load (i32.add (local.get $units) (local.get $i)))))
                (v128.and (local.get $value) (v128.const f64x2 -0 -0))))
            (local.set $input
              (f64x2.div
                (f64x2.sub (local.get $input) (v128.load (i32.add (local.get $means) (local.get $i))))
                (v128.load (i32.add (local.get $scales) (local.get $i)))))
            ;; Held within ±10; missing values, and only they differ from themselves, are the mean.
            (v128.store
              (i32.add (local.get $into) (local.get $i))
              (v128.and
                (f64x2.pmax
                  (f64x2.pmin (local.get $input) (v128.const f64x2 10 10))
                  (v128.const f64x2 -10 -10))
                (f64x2.eq (local.get $input) (local.get $input))))
            (local.set $i (i32.add (local.get $i) (i32.const 16)))
            (br $pairs)))
        (local.set $from (i32.add (local.get $from) (local.get $width)))
        (local.set $into (i32.add (local.get $into) (local.get $stride)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $rows))))

  ;; Sums begin with the bias and take the products in the order of the inputs; a product is rounded before it is added. Lanes are sums of
  ;; neighbouring units, so that their number changes nothing. Inputs that are 0, or whose gate is shut (0 or less), are left out, not
  ;; multiplied by 0: half of what a rectifier lets through costs nothing.
  ;; `outputs` is a multiple of 4; weights have a row of `outputs` for each input, and a row of results is as long. `terms` has room for
  ;; 16 bytes an input: its value, and the address of its weights.
  (func (export "multiplyRows")
    (param $count i32)
    (param $from i32) (param $fromStride i32)
    (param $gate i32) (param $gateStride i32)
    (param $inputs i32)
    (param $weights i32) (param $biases i32)
    (param $outputs i32)
    (param $into i32)
    (param $terms i32)
    (local $i i32) (local $input f64) (local $weightsAt i32) (local $rowBytes i32)
    (local $term i32) (local $termsEnd i32)
    (local $block i32) (local $at i32) (local $value v128)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)

    (local.set $rowBytes (i32.shl (local.get $outputs) (i32.const 3)))
    (block $done
      (loop $rows
        (br_if $done (i32.eqz (local.get $count)))

        ;; The terms of the row: every input is written, and the next one over it unless it counts.
        (local.set $termsEnd (local.get $terms))
        (local.set $weightsAt (local.get $weights))
        (local.set $i (i32.const 0))
        (block $listed
          (br_if $listed (i32.eqz (local.get $inputs)))
          (loop $inputs
            (local.set $input (f64.load (i32.add (local.get $from) (local.get $i))))
            (f64.store (local.get $termsEnd) (local.get $input))
            (i32.store offset=8 (local.get $termsEnd) (local.get $weightsAt))
            (local.set $termsEnd
              (i32.add (local.get $termsEnd)
                (i32.shl
                  (i32.gt_u
                    (f64.ne (local.get $input) (f64.const 0))
                    (f64.le (f64.load (i32.add (local.get $gate) (local.get $i))) (f64.const 0)))
                  (i32.const 4))))
            (local.set $weightsAt (i32.add (local.get $weightsAt) (local.get $rowBytes)))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if $inputs (i32.lt_u (local.get $i) (i32.shl (local.get $inputs) (i32.const 3))))))

        ;; Sums of 16 units side by side, as long as there are as many, then of 4.
        (local.set $block (i32.const 0))
        (block $sixteens
          (loop $blocks
            (br_if $sixteens
              (i32.gt_u (i32.add (local.get $block) (i32.const 128)) (local.get $rowBytes)))
            (local.set $at (i32.add (local.get $biases) (local.get $block)))
            (local.set $a (v128.load (local.get $at)))
            (local.set $b (v128.load offset=16 (local.get $at)))
            (local.set $c (v128.load offset=32 (local.get $at)))
            (local.set $d (v128.load offset=48 (local.get $at)))
            (local.set $e (v128.load offset=64 (local.get $at)))
            (local.set $f (v128.load offset=80 (local.get $at)))
            (local.set $g (v128.load offset=96 (local.get $at)))
            (local.set $h (v128.load offset=112 (local.get $at)))
            (local.set $term (local.get $terms))
            (block $summed
              (br_if $summed (i32.eq (local.get $term) (local.get $termsEnd)))
              (loop $sum
                (local.set $value (v128.load64_splat (local.get $term)))
                (local.set $at (i32.add (i32.load offset=8 (local.get $term)) (local.get $block)))
                (local.set $a (f64x2.add (local.get $a) (f64x2.mul (local.get $value) (v128.load (local.get $at)))))
                (local.set $b (f64x2.add (local.get $b) (f64x2.mul (local.get $value) (v128.load offset=16 (local.get $at)))))
                (local.set $c (f64x2.add (local.get $c) (f64x2.mul (local.get $value) (v128.load offset=32 (local.get $at)))))
                (local.set $d (f64x2.add (local.get $d) (f64x2.mul (local.get $value) (v128.load offset=48 (local.get $at)))))
                (local.set $e (f64x2.add (local.get $e) (f64x2.mul (local.get $value) (v128.load offset=64 (local.get $at)))))
                (local.set $f (f64x2.add (local.get $f) (f64x2.mul (local.get $value) (v128.load offset=80 (local.get $at)))))
                (local.set $g (f64x2.add (local.get $g) (f64x2.mul (local.get $value) (v128.load offset=96 (local.get $at)))))
                (local.set $h (f64x2.add (local.get $h) (f64x2.mul (local.get $value) (v128.load offset=112 (local.get $at)))))
                (local.set $term (i32.add (local.get $term) (i32.const 16)))
                (br_if $sum (i32.ne (local.get $term) (local.get $termsEnd)))))
            (local.set $at (i32.add (local.get $into) (local.get $block)))
            (v128.store (local.get $at) (local.get $a))
            (v128.store offset=16 (local.get $at) (local.get $b))
            (v128.store offset=32 (local.get $at) (local.get $c))
            (v128.store offset=48 (local.get $at) (local.get $d))
            (v128.store offset=64 (local.get $at) (local.get $e))
            (v128.store offset=80 (local.get $at) (local.get $f))
            (v128.store offset=96 (local.get $at) (local.get $g))
            (v128.store offset=112 (local.get $at) (local.get $h))
            (local.set $block (i32.add (local.get $block) (i32.const 128)))
            (br $blocks)))
        (block $fours
          (loop $blocks
            (br_if $fours (i32.eq (local.get $block) (local.get $rowBytes)))
            (local.set $at (i32.add (local.get $biases) (local.get $block)))
            (local.set $a (v128.load (local.get $at)))
            (local.set $b (v128.load offset=16 (local.get $at)))
            (local.set $term (local.get $terms))
            (block $summed
              (br_if $summed (i32.eq (local.get $term) (local.get $termsEnd)))
              (loop $sum
                (local.set $value (v128.load64_splat (local.get $term)))
                (local.set $at (i32.add (i32.load offset=8 (local.get $term)) (local.get $block)))
                (local.set $a (f64x2.add (local.get $a) (f64x2.mul (local.get $value) (v128.load (local.get $at)))))
                (local.set $b (f64x2.add (local.get $b) (f64x2.mul (local.get $value) (v128.load offset=16 (local.get $at)))))
                (local.set $term (i32.add (local.get $term) (i32.const 16)))
                (br_if $sum (i32.ne (local.get $term) (local.get $termsEnd)))))
            (local.set $at (i32.add (local.get $into) (local.get $block)))
            (v128.store (local.get $at) (local.get $a))
            (v128.store offset=16 (local.get $at) (local.get $b))
            (local.set $block (i32.add (local.get $block) (i32.const 32)))
            (br $blocks)))

        (local.set $from (i32.add (local.get $from) (local.get $fromStride)))
        (local.set $gate (i32.add (local.get $gate) (local.get $gateStride)))
        (local.set $into (i32.add (local.get $into) (local.get $rowBytes)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $rows)))))
