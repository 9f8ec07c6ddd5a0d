;; One layer of a network over many rows. Called by network-kernel.ts, which has the same in JavaScript: both give the same bits.
;;
;; A sum begins with the bias and takes the products in the order of the inputs; a product is rounded before it is added. The lanes of a
;; vector are sums of neighbouring units, so that their number changes nothing. Inputs that are 0, or whose gate is shut (0 or less), are
;; left out, not multiplied by 0: half of what a rectifier lets through costs nothing.
;;
;; network-kernel-code.ts holds this text compiled; test/online-model/models/network-kernel.test.ts compiles it again.
(module
  (import "network" "memory" (memory 1))

  ;; Addresses and strides are in bytes. `outputs` is a multiple of 4; weights have a row of `outputs` for each input, and a row of results
  ;; is as long. `terms` has room for 16 bytes an input: its value, and the address of its weights.
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
